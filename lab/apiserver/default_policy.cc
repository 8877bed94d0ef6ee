// The cluster roles that every cluster has from the start.
#include "base/strings.h"
#include "lab/apiserver/authorizer.h"

namespace isthmus::lab::apiserver {
namespace {

constexpr char kApi[] = "rbac.authorization.k8s.io/v1";
constexpr char kReadVerbs[] = "get list watch";
constexpr char kWriteVerbs[] = "create delete deletecollection patch update";

Json WordsOf(const std::string& text) {
  Json out = Json::array();
  for (const std::string& word : base::SplitList(text, ' '))
    out.push_back(word == "core" ? "" : word);
  return out;
}

Json Allow(const std::string& verbs, const std::string& groups, const std::string& resources) {
  return {
      {"verbs", WordsOf(verbs)}, {"apiGroups", WordsOf(groups)}, {"resources", WordsOf(resources)}};
}

Json Urls(const std::string& verbs, const std::string& urls) {
  return {{"verbs", WordsOf(verbs)}, {"nonResourceURLs", WordsOf(urls)}};
}

Json Role(const std::string& name, Json rules, Json labels = Json::object()) {
  labels["kubernetes.io/bootstrapping"] = "rbac-defaults";
  return {{"apiVersion", kApi},
          {"kind", "ClusterRole"},
          {"metadata",
           {{"name", name},
            {"labels", std::move(labels)},
            {"annotations", {{"rbac.authorization.kubernetes.io/autoupdate", "true"}}}}},
          {"rules", std::move(rules)}};
}

Json Aggregate(const std::string& name, const std::string& to) {
  Json role = Role(
      name, Json::array(),
      to.empty() ? Json::object() : Json{{"rbac.authorization.k8s.io/aggregate-to-" + to, "true"}});
  role["aggregationRule"] = {
      {"clusterRoleSelectors",
       Json::array(
           {{{"matchLabels", {{"rbac.authorization.k8s.io/aggregate-to-" + name, "true"}}}}})}};
  return role;
}

Json Binding(const std::string& name, const std::string& role, Json subjects) {
  return {{"apiVersion", kApi},
          {"kind", "ClusterRoleBinding"},
          {"metadata",
           {{"name", name},
            {"labels", {{"kubernetes.io/bootstrapping", "rbac-defaults"}}},
            {"annotations", {{"rbac.authorization.kubernetes.io/autoupdate", "true"}}}}},
          {"roleRef",
           {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "ClusterRole"}, {"name", role}}},
          {"subjects", std::move(subjects)}};
}

Json Group(const char* name) {
  return {{"kind", "Group"}, {"apiGroup", "rbac.authorization.k8s.io"}, {"name", name}};
}
Json UserSubject(const char* name) {
  return {{"kind", "User"}, {"apiGroup", "rbac.authorization.k8s.io"}, {"name", name}};
}

/// What view, edit and admin see or change in a namespace.
Json ViewRules() {
  return Json::array({
      Allow(
          kReadVerbs, "core",
          "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "
          "replicationcontrollers replicationcontrollers/scale "
          "serviceaccounts services services/status bindings events limitranges namespaces/status "
          "pods/log pods/status replicationcontrollers/status "
          "resourcequotas resourcequotas/status namespaces"),
      Allow(kReadVerbs, "discovery.k8s.io", "endpointslices"),
      Allow(kReadVerbs, "apps",
            "controllerrevisions daemonsets daemonsets/status deployments deployments/scale "
            "deployments/status replicasets replicasets/scale "
            "replicasets/status statefulsets statefulsets/scale statefulsets/status"),
      Allow(kReadVerbs, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
      Allow(kReadVerbs, "batch", "cronjobs cronjobs/status jobs jobs/status"),
      Allow(kReadVerbs, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
      Allow(kReadVerbs, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
  });
}

Json EditRules() {
  return Json::array({
      Allow(kReadVerbs, "core",
            "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
      Allow("impersonate", "core", "serviceaccounts"),
      Allow(kWriteVerbs, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
      Allow("create", "core", "pods/eviction serviceaccounts/token"),
      Allow(kWriteVerbs, "core",
            "configmaps events persistentvolumeclaims replicationcontrollers "
            "replicationcontrollers/scale secrets serviceaccounts services services/proxy"),
      Allow(kWriteVerbs, "apps",
            "daemonsets deployments deployments/rollback deployments/scale replicasets "
            "replicasets/scale statefulsets statefulsets/scale"),
      Allow(kWriteVerbs, "autoscaling", "horizontalpodautoscalers"),
      Allow(kWriteVerbs, "batch", "cronjobs jobs"),
      Allow(kWriteVerbs, "policy", "poddisruptionbudgets"),
      Allow(kWriteVerbs, "networking.k8s.io", "ingresses networkpolicies"),
      Allow("create delete deletecollection get list patch update watch", "coordination.k8s.io",
            "leases"),
  });
}

Json AdminRules() {
  return Json::array({
      Allow("create", "authorization.k8s.io", "localsubjectaccessreviews"),
      Allow("create delete deletecollection get list patch update watch",
            "rbac.authorization.k8s.io", "rolebindings roles"),
  });
}

Json NodeRules() {
  return Json::array({
      Allow("create", "authentication.k8s.io", "tokenreviews"),
      Allow("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
      Allow(kReadVerbs, "core", "services"),
      Allow("create get list watch patch update delete", "core", "nodes"),
      Allow("patch update", "core", "nodes/status"),
      Allow("create patch update", "core events.k8s.io", "events"),
      Allow("get list watch create delete", "core", "pods"),
      Allow("patch update", "core", "pods/status"),
      Allow("create", "core", "pods/eviction serviceaccounts/token"),
      Allow(kReadVerbs, "core",
            "configmaps secrets persistentvolumeclaims persistentvolumes serviceaccounts endpoints "
            "namespaces"),
      Allow(kReadVerbs, "discovery.k8s.io", "endpointslices"),
      Allow("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
      Allow("create delete get patch update list watch", "coordination.k8s.io", "leases"),
      Allow(kReadVerbs, "node.k8s.io storage.k8s.io", "runtimeclasses csidrivers"),
      Allow("create delete get patch update", "storage.k8s.io", "csinodes"),
  });
}

}  // namespace

std::vector<Json> DefaultPolicy() {
  const char* const kToAdmin = "rbac.authorization.k8s.io/aggregate-to-admin";
  const char* const kToEdit = "rbac.authorization.k8s.io/aggregate-to-edit";
  const char* const kToView = "rbac.authorization.k8s.io/aggregate-to-view";
  Json admin = Aggregate("admin", "");
  Json edit = Aggregate("edit", "admin");
  Json view = Aggregate("view", "edit");
  return {
      Role("cluster-admin", Json::array({Allow("*", "*", "*"), Urls("*", "*")})),
      admin,
      edit,
      view,
      Role("system:aggregate-to-admin", AdminRules(), {{kToAdmin, "true"}}),
      // Aggregation here is one level deep, so the wider roles name the narrower ones' parts
      // themselves.
      Role("system:aggregate-to-edit", EditRules(), {{kToEdit, "true"}, {kToAdmin, "true"}}),
      Role("system:aggregate-to-view", ViewRules(),
           {{kToView, "true"}, {kToEdit, "true"}, {kToAdmin, "true"}}),
      Role("system:discovery",
           Json::array({Urls("get",
                             "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* "
                             "/readyz /version /version/")})),
      Role("system:public-info-viewer",
           Json::array({Urls("get", "/healthz /livez /readyz /version /version/")})),
      Role("system:basic-user",
           Json::array({Allow("create", "authorization.k8s.io",
                              "selfsubjectaccessreviews selfsubjectrulesreviews"),
                        Allow("create", "authentication.k8s.io", "selfsubjectreviews")})),
      Role("system:service-account-issuer-discovery",
           Json::array({Urls("get",
                             "/.well-known/openid-configuration /.well-known/openid-configuration/ "
                             "/openid/v1/jwks /openid/v1/jwks/")})),
      Role("system:auth-delegator",
           Json::array({Allow("create", "authentication.k8s.io", "tokenreviews"),
                        Allow("create", "authorization.k8s.io", "subjectaccessreviews")})),
      Role("system:node", NodeRules()),
      Role("system:node-proxier",
           Json::array({Allow("list watch", "core", "services endpoints"),
                        Allow("get list watch", "core", "nodes"),
                        Allow("create patch update", "core events.k8s.io", "events"),
                        Allow("list watch", "discovery.k8s.io", "endpointslices")})),
      Role("system:node-bootstrapper",
           Json::array({Allow("create get list watch", "certificates.k8s.io",
                              "certificatesigningrequests")})),
      Role("system:kubelet-api-admin",
           Json::array({Allow("get list watch proxy", "core", "nodes"),
                        Allow("*", "core", "nodes/log nodes/metrics nodes/proxy nodes/stats")})),
      Role("system:kube-controller-manager", Json::array({Allow("*", "*", "*"), Urls("*", "*")})),
      Role("system:kube-scheduler",
           Json::array({Allow(kReadVerbs, "*", "*"),
                        Allow("create", "core", "bindings pods/binding"),
                        Allow("patch update", "core", "pods/status"),
                        Allow("create patch update", "core events.k8s.io", "events"),
                        Allow("create get update patch", "coordination.k8s.io", "leases")})),
      Binding("cluster-admin", "cluster-admin", Json::array({Group("system:masters")})),
      Binding("system:discovery", "system:discovery", Json::array({Group("system:authenticated")})),
      Binding("system:basic-user", "system:basic-user",
              Json::array({Group("system:authenticated")})),
      Binding("system:public-info-viewer", "system:public-info-viewer",
              Json::array({Group("system:authenticated"), Group("system:unauthenticated")})),
      Binding("system:service-account-issuer-discovery", "system:service-account-issuer-discovery",
              Json::array({Group("system:serviceaccounts")})),
      Binding("system:nodes", "system:node", Json::array({Group("system:nodes")})),
      Binding("system:node-proxier", "system:node-proxier",
              Json::array({UserSubject("system:kube-proxy")})),
      Binding("system:kube-controller-manager", "system:kube-controller-manager",
              Json::array({UserSubject("system:kube-controller-manager")})),
      Binding("system:kube-scheduler", "system:kube-scheduler",
              Json::array({UserSubject("system:kube-scheduler")})),
  };
}

}  // namespace isthmus::lab::apiserver
