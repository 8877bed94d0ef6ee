#include "base/strings.h"
#include "lab/apiserver/kind.h"

namespace isthmus::lab::apiserver {
namespace {

/// A row as it is written below. `flags`: n namespaced, c cluster scope, r review, s status
/// subresource, x scale.
struct Row {
  const char* group;
  const char* versions;  ///< Preferred first; the first is stored.
  const char* plural;
  const char* singular;
  const char* kind;
  const char* short_names;
  const char* categories;
  const char* flags;
  const char* subresources;
};

constexpr Row kRows[] = {
    {"", "v1", "bindings", "binding", "Binding", "", "", "nr", ""},
    {"", "v1", "configmaps", "configmap", "ConfigMap", "cm", "", "n", ""},
    {"", "v1", "endpoints", "endpoints", "Endpoints", "ep", "", "n", ""},
    {"", "v1", "events", "event", "Event", "ev", "", "n", ""},
    {"", "v1", "limitranges", "limitrange", "LimitRange", "limits", "", "n", ""},
    {"", "v1", "namespaces", "namespace", "Namespace", "ns", "", "cs", "finalize"},
    {"", "v1", "nodes", "node", "Node", "no", "", "cs", "proxy"},
    {"", "v1", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", "pvc",
     "", "ns", ""},
    {"", "v1", "persistentvolumes", "persistentvolume", "PersistentVolume", "pv", "", "cs", ""},
    {"", "v1", "pods", "pod", "Pod", "po", "all", "ns",
     "attach binding ephemeralcontainers eviction exec log portforward proxy resize"},
    {"", "v1", "podtemplates", "podtemplate", "PodTemplate", "", "", "n", ""},
    {"", "v1", "replicationcontrollers", "replicationcontroller", "ReplicationController", "rc",
     "all", "nsx", ""},
    {"", "v1", "resourcequotas", "resourcequota", "ResourceQuota", "quota", "", "ns", ""},
    {"", "v1", "secrets", "secret", "Secret", "", "", "n", ""},
    {"", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount", "sa", "", "n", "token"},
    {"", "v1", "services", "service", "Service", "svc", "all", "ns", "proxy"},
    {"apiregistration.k8s.io", "v1", "apiservices", "apiservice", "APIService", "",
     "api-extensions", "cs", ""},
    {"apps", "v1", "controllerrevisions", "controllerrevision", "ControllerRevision", "", "", "n",
     ""},
    {"apps", "v1", "daemonsets", "daemonset", "DaemonSet", "ds", "all", "ns", ""},
    {"apps", "v1", "deployments", "deployment", "Deployment", "deploy", "all", "nsx", ""},
    {"apps", "v1", "replicasets", "replicaset", "ReplicaSet", "rs", "all", "nsx", ""},
    {"apps", "v1", "statefulsets", "statefulset", "StatefulSet", "sts", "all", "nsx", ""},
    {"events.k8s.io", "v1", "events", "event", "Event", "ev", "", "n", ""},
    {"authentication.k8s.io", "v1", "selfsubjectreviews", "selfsubjectreview", "SelfSubjectReview",
     "", "", "cr", ""},
    {"authentication.k8s.io", "v1", "tokenreviews", "tokenreview", "TokenReview", "", "", "cr", ""},
    {"authorization.k8s.io", "v1", "localsubjectaccessreviews", "localsubjectaccessreview",
     "LocalSubjectAccessReview", "", "", "nr", ""},
    {"authorization.k8s.io", "v1", "selfsubjectaccessreviews", "selfsubjectaccessreview",
     "SelfSubjectAccessReview", "", "", "cr", ""},
    {"authorization.k8s.io", "v1", "selfsubjectrulesreviews", "selfsubjectrulesreview",
     "SelfSubjectRulesReview", "", "", "cr", ""},
    {"authorization.k8s.io", "v1", "subjectaccessreviews", "subjectaccessreview",
     "SubjectAccessReview", "", "", "cr", ""},
    {"autoscaling", "v2 v1", "horizontalpodautoscalers", "horizontalpodautoscaler",
     "HorizontalPodAutoscaler", "hpa", "all", "ns", ""},
    {"batch", "v1", "cronjobs", "cronjob", "CronJob", "cj", "all", "ns", ""},
    {"batch", "v1", "jobs", "job", "Job", "", "all", "ns", ""},
    {"certificates.k8s.io", "v1", "certificatesigningrequests", "certificatesigningrequest",
     "CertificateSigningRequest", "csr", "", "cs", "approval"},
    {"networking.k8s.io", "v1", "ingressclasses", "ingressclass", "IngressClass", "", "", "c", ""},
    {"networking.k8s.io", "v1", "ingresses", "ingress", "Ingress", "ing", "", "ns", ""},
    {"networking.k8s.io", "v1", "networkpolicies", "networkpolicy", "NetworkPolicy", "netpol", "",
     "n", ""},
    {"policy", "v1", "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget", "pdb",
     "", "ns", ""},
    {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "clusterrolebinding",
     "ClusterRoleBinding", "", "", "c", ""},
    {"rbac.authorization.k8s.io", "v1", "clusterroles", "clusterrole", "ClusterRole", "", "", "c",
     ""},
    {"rbac.authorization.k8s.io", "v1", "rolebindings", "rolebinding", "RoleBinding", "", "", "n",
     ""},
    {"rbac.authorization.k8s.io", "v1", "roles", "role", "Role", "", "", "n", ""},
    {"storage.k8s.io", "v1", "csidrivers", "csidriver", "CSIDriver", "", "", "c", ""},
    {"storage.k8s.io", "v1", "csinodes", "csinode", "CSINode", "", "", "c", ""},
    {"storage.k8s.io", "v1", "csistoragecapacities", "csistoragecapacity", "CSIStorageCapacity", "",
     "", "n", ""},
    {"storage.k8s.io", "v1", "storageclasses", "storageclass", "StorageClass", "sc", "", "c", ""},
    {"storage.k8s.io", "v1", "volumeattachments", "volumeattachment", "VolumeAttachment", "", "",
     "cs", ""},
    {"admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations",
     "mutatingwebhookconfiguration", "MutatingWebhookConfiguration", "", "api-extensions", "c", ""},
    {"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies",
     "validatingadmissionpolicy", "ValidatingAdmissionPolicy", "", "api-extensions", "cs", ""},
    {"admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings",
     "validatingadmissionpolicybinding", "ValidatingAdmissionPolicyBinding", "", "api-extensions",
     "c", ""},
    {"admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations",
     "validatingwebhookconfiguration", "ValidatingWebhookConfiguration", "", "api-extensions", "c",
     ""},
    {"apiextensions.k8s.io", "v1", "customresourcedefinitions", "customresourcedefinition",
     "CustomResourceDefinition", "crd crds", "api-extensions", "cs", ""},
    {"scheduling.k8s.io", "v1", "priorityclasses", "priorityclass", "PriorityClass", "pc", "", "c",
     ""},
    {"coordination.k8s.io", "v1", "leases", "lease", "Lease", "", "", "n", ""},
    {"node.k8s.io", "v1", "runtimeclasses", "runtimeclass", "RuntimeClass", "", "", "c", ""},
    {"discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice", "", "", "n", ""},
};

/// "apps", "rbac", "core": the first part of the group, by which the table of types names it.
std::string TypePrefix(std::string_view group) {
  return group.empty() ? "core" : std::string(group.substr(0, group.find('.')));
}

}  // namespace

std::vector<Kind> BuiltinKinds() {
  std::vector<Kind> kinds;
  for (const Row& row : kRows) {
    const std::string_view flags = row.flags;
    Kind& kind = kinds.emplace_back();
    kind.group = row.group;
    kind.plural = row.plural;
    kind.singular = row.singular;
    kind.kind = row.kind;
    kind.list_kind = kind.kind + "List";
    kind.short_names = base::SplitList(row.short_names, ' ');
    kind.categories = base::SplitList(row.categories, ' ');
    kind.namespaced = flags.find('n') != flags.npos;
    kind.review = flags.find('r') != flags.npos;
    kind.subresources = base::SplitList(row.subresources, ' ');
    bool first = true;
    for (const std::string& name : base::SplitList(row.versions, ' ')) {
      KindVersion& version = kind.versions.emplace_back();
      version.name = name;
      version.storage = first;
      first = false;
      version.type =
          BuiltinTypes::Get().Find(TypePrefix(kind.group) + "." + name + "." + kind.kind);
      version.status = flags.find('s') != flags.npos;
      if (flags.find('x') != flags.npos) {
        version.scale_spec = ".spec.replicas";
        version.scale_status = ".status.replicas";
        version.scale_selector = ".spec.selector";
      }
      version.columns = BuiltinColumns(kind.resource_key());
    }
  }
  return kinds;
}

}  // namespace isthmus::lab::apiserver
