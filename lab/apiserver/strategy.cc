#include "lab/apiserver/strategy.h"

#include <algorithm>
#include <set>

#include "base/encoding.h"
#include "base/strings.h"
#include "kubeapi/meta.h"
#include "kubeapi/selector.h"
#include "lab/apiserver/crd.h"
#include "lab/apiserver/pod_strategy.h"
#include "lab/apiserver/service_strategy.h"
#include "pki/digest.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StatusCause;
using kubeapi::StringAt;

Json* Child(Json* value, const char* key) {
  if (!value || !value->is_object()) return nullptr;
  auto it = value->find(key);
  return it == value->end() ? nullptr : &*it;
}

void SetDefault(Json* value, const char* key, Json fallback) {
  if (value && value->is_object() && !value->contains(key)) (*value)[key] = std::move(fallback);
}

void DefaultWorkload(const std::string& key, Json* object) {
  Json* spec = Child(object, "spec");
  if (!spec) return;
  if (key == "deployments.apps") {
    if (Json* strategy = Child(spec, "strategy");
        strategy && StringAt(*strategy, {"type"}) == "RollingUpdate" &&
        !strategy->contains("rollingUpdate"))
      (*strategy)["rollingUpdate"] = {{"maxSurge", "25%"}, {"maxUnavailable", "25%"}};
  } else if (key == "daemonsets.apps") {
    Json* strategy = Child(spec, "updateStrategy");
    SetDefault(strategy, "type", "RollingUpdate");
    if (strategy && StringAt(*strategy, {"type"}) == "RollingUpdate") {
      SetDefault(strategy, "rollingUpdate", Json::object());
      SetDefault(Child(strategy, "rollingUpdate"), "maxUnavailable", 1);
      SetDefault(Child(strategy, "rollingUpdate"), "maxSurge", 0);
    }
  } else if (key == "statefulsets.apps") {
    Json* strategy = Child(spec, "updateStrategy");
    SetDefault(strategy, "type", "RollingUpdate");
    if (strategy && StringAt(*strategy, {"type"}) == "RollingUpdate") {
      SetDefault(strategy, "rollingUpdate", Json::object());
      SetDefault(Child(strategy, "rollingUpdate"), "partition", 0);
    }
  } else if (key == "jobs.batch") {
    for (const auto& [field, value] : {std::pair<const char*, Json>("backoffLimit", 6),
                                       {"completionMode", "NonIndexed"},
                                       {"podReplacementPolicy", "TerminatingOrFailed"},
                                       {"suspend", false},
                                       {"manualSelector", false}})
      SetDefault(spec, field, value);
    if (!spec->contains("completions") && !spec->contains("parallelism")) {
      (*spec)["completions"] = 1;
      (*spec)["parallelism"] = 1;
    }
    SetDefault(spec, "parallelism", 1);
  } else if (key == "replicationcontrollers") {
    Json* labels = Child(Child(Child(spec, "template"), "metadata"), "labels");
    if (labels) {
      SetDefault(spec, "selector", *labels);
      if (!Find(*object, {"metadata", "labels"})) (*object)["metadata"]["labels"] = *labels;
    }
  }
  if (key == "cronjobs.batch") spec = Child(Child(spec, "jobTemplate"), "spec");
  if (Json* pod = Child(Child(spec, "template"), "spec")) DefaultPodSpec(pod);
}

void DefaultService(Json* object) {
  Json* spec = Child(object, "spec");
  Json* ports = Child(spec, "ports");
  if (ports && ports->is_array())
    for (Json& port : *ports)
      if (port.is_object() &&
          (!port.contains("targetPort") || port["targetPort"] == 0 || port["targetPort"] == ""))
        port["targetPort"] = port.value("port", Json(0));
  if (spec && StringAt(*spec, {"sessionAffinity"}) == "ClientIP")
    SetDefault(spec, "sessionAffinityConfig", {{"clientIP", {{"timeoutSeconds", 10800}}}});
}

void DefaultRbac(const Kind& kind, Json* object) {
  Json* subjects = Child(object, "subjects");
  if (subjects && subjects->is_array())
    for (Json& subject : *subjects)
      if (const std::string type = StringAt(subject, {"kind"}); type == "User" || type == "Group")
        SetDefault(&subject, "apiGroup", "rbac.authorization.k8s.io");
}

/// stringData is written into data and forgotten.
void FoldStringData(Json* object) {
  Json* text = Child(object, "stringData");
  if (!text) return;
  if (text->is_object())
    for (const auto& [key, value] : text->items())
      if (value.is_string())
        (*object)["data"][key] = base::Base64Encode(value.get_ref<const std::string&>());
  object->erase("stringData");
}

void Require(const Json& object, std::initializer_list<std::string_view> path,
             std::vector<StatusCause>* causes) {
  const Json* value = Find(object, path);
  if (value && !value->is_null() &&
      !(value->is_string() && value->get_ref<const std::string&>().empty()))
    return;
  causes->push_back({"FieldValueRequired", "Required value",
                     base::Join(std::vector<std::string_view>(path), ".")});
}

void ValidateWorkload(const std::string& key, const Json& object, const Json* old,
                      std::vector<StatusCause>* causes) {
  const Json* selector = Find(object, {"spec", "selector"});
  const Json* labels = Find(object, {"spec", "template", "metadata", "labels"});
  static const Json kNone = Json::object();
  if (!selector || selector->empty()) {
    causes->push_back({"FieldValueRequired", "Required value", "spec.selector"});
  } else {
    auto parsed =
        key == "replicationcontrollers"
            ? base::Result<kubeapi::LabelSelector>(kubeapi::LabelSelector::FromLabels(*selector))
            : kubeapi::LabelSelector::FromObject(*selector);
    if (!parsed.ok()) {
      causes->push_back(
          {"FieldValueInvalid", "Invalid value: " + parsed.status().message(), "spec.selector"});
    } else if (!parsed->Matches(labels ? *labels : kNone)) {
      causes->push_back(
          {"FieldValueInvalid",
           fmt::format("Invalid value: {}: `selector` does not match template `labels`",
                       (labels ? *labels : kNone).dump()),
           "spec.template.metadata.labels"});
    }
    if (old && key != "replicationcontrollers" && Find(*old, {"spec", "selector"}) &&
        *Find(*old, {"spec", "selector"}) != *selector)
      causes->push_back({"FieldValueInvalid",
                         fmt::format("Invalid value: {}: field is immutable", selector->dump()),
                         "spec.selector"});
  }
  if (IntAt(object, {"spec", "replicas"}) < 0)
    causes->push_back({"FieldValueInvalid",
                       fmt::format("Invalid value: {}: must be greater than or equal to 0",
                                   IntAt(object, {"spec", "replicas"})),
                       "spec.replicas"});
  if (const Json* pod = Find(object, {"spec", "template", "spec"})) {
    ValidatePodSpec(*pod, "spec.template.spec", causes);
    if (const std::string policy = StringAt(*pod, {"restartPolicy"}); policy != "Always")
      causes->push_back(
          {"FieldValueNotSupported",
           fmt::format("Unsupported value: \"{}\": supported values: \"Always\"", policy),
           "spec.template.spec.restartPolicy"});
  } else {
    causes->push_back({"FieldValueRequired", "Required value", "spec.template.spec.containers"});
  }
}

void ValidateJob(const Json& object, const Json* old, std::vector<StatusCause>* causes) {
  const Json* pod = Find(object, {"spec", "template", "spec"});
  if (!pod) {
    causes->push_back({"FieldValueRequired", "Required value", "spec.template.spec.containers"});
    return;
  }
  ValidatePodSpec(*pod, "spec.template.spec", causes);
  if (const std::string policy = StringAt(*pod, {"restartPolicy"});
      policy == "Always" || policy.empty())
    causes->push_back({"FieldValueNotSupported",
                       "Unsupported value: \"Always\": supported values: \"OnFailure\", \"Never\"",
                       "spec.template.spec.restartPolicy"});
  if (old && Find(*old, {"spec", "template"}) && !kubeapi::BoolAt(*old, {"spec", "suspend"}) &&
      *Find(*old, {"spec", "template"}) != *Find(object, {"spec", "template"}))
    causes->push_back({"FieldValueInvalid", "Invalid value: field is immutable", "spec.template"});
}

void ValidateConfig(const Json& object, const Json* old, bool secret,
                    std::vector<StatusCause>* causes) {
  for (const char* part : {"data", "binaryData"}) {
    const Json* data = Find(object, {part});
    if (!data || !data->is_object()) continue;
    for (const auto& [key, value] : data->items()) {
      const bool fits =
          !key.empty() && key.size() <= 253 && key != "." && key != ".." &&
          std::all_of(key.begin(), key.end(), [](char c) {
            return isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
          });
      if (!fits)
        causes->push_back({"FieldValueInvalid",
                           fmt::format("Invalid value: \"{}\": a valid config key must consist of "
                                       "alphanumeric characters, '-', '_' or '.' "
                                       "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex "
                                       "used for validation is '[-._a-zA-Z0-9]+')",
                                       key),
                           fmt::format("{}[{}]", part, key)});
    }
  }
  if (old && kubeapi::BoolAt(*old, {"immutable"})) {
    auto same = [&](const char* part) {
      const Json *a = Find(object, {part}), *b = Find(*old, {part});
      return (!a && !b) || (a && b && *a == *b);
    };
    if (!kubeapi::BoolAt(object, {"immutable"}))
      causes->push_back({"FieldValueForbidden",
                         "Forbidden: field is immutable when `immutable` is set", "immutable"});
    for (const char* part : {"data", "binaryData"})
      if (!same(part))
        causes->push_back(
            {"FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", part});
  }
  if (secret && old && StringAt(*old, {"type"}) != StringAt(object, {"type"}))
    causes->push_back(
        {"FieldValueInvalid",
         fmt::format("Invalid value: \"{}\": field is immutable", StringAt(object, {"type"})),
         "type"});
  const std::string type = StringAt(object, {"type"});
  if (secret && type == "kubernetes.io/tls")
    for (const char* key : {"tls.crt", "tls.key"})
      if (!Find(object, {"data", key}))
        causes->push_back({"FieldValueRequired", "Required value", fmt::format("data[{}]", key)});
  if (secret && type == "kubernetes.io/service-account-token" &&
      kubeapi::AnnotationOf(object, "kubernetes.io/service-account.name").empty())
    causes->push_back({"FieldValueRequired", "Required value",
                       "metadata.annotations[kubernetes.io/service-account.name]"});
}

void ValidateBinding(const Json& object, const Json* old, std::vector<StatusCause>* causes) {
  Require(object, {"roleRef", "name"}, causes);
  Require(object, {"roleRef", "kind"}, causes);
  if (old && Find(*old, {"roleRef"}) && Find(object, {"roleRef"}) &&
      *Find(*old, {"roleRef"}) != *Find(object, {"roleRef"}))
    causes->push_back(
        {"FieldValueInvalid",
         fmt::format("Invalid value: {{\"APIGroup\":\"{}\",\"Kind\":\"{}\",\"Name\":\"{}\"}}: "
                     "cannot change roleRef",
                     StringAt(object, {"roleRef", "apiGroup"}),
                     StringAt(object, {"roleRef", "kind"}), StringAt(object, {"roleRef", "name"})),
         "roleRef"});
  if (const Json* subjects = Find(object, {"subjects"}); subjects && subjects->is_array())
    for (size_t i = 0; i < subjects->size(); ++i) {
      const std::string at = fmt::format("subjects[{}]", i);
      if (StringAt((*subjects)[i], {"name"}).empty())
        causes->push_back({"FieldValueRequired", "Required value", at + ".name"});
      const std::string type = StringAt((*subjects)[i], {"kind"});
      if (type != "User" && type != "Group" && type != "ServiceAccount")
        causes->push_back({"FieldValueNotSupported",
                           fmt::format("Unsupported value: \"{}\": supported values: \"Group\", "
                                       "\"ServiceAccount\", \"User\"",
                                       type),
                           at + ".kind"});
      if (type == "ServiceAccount" && StringAt((*subjects)[i], {"namespace"}).empty() &&
          kubeapi::KindOf(object) == "ClusterRoleBinding")
        causes->push_back({"FieldValueRequired", "Required value", at + ".namespace"});
    }
}

void ValidateWebhooks(const Json& object, std::vector<StatusCause>* causes) {
  const Json* hooks = Find(object, {"webhooks"});
  if (!hooks || !hooks->is_array()) return;
  for (size_t i = 0; i < hooks->size(); ++i) {
    const Json& hook = (*hooks)[i];
    const std::string at = fmt::format("webhooks[{}]", i);
    const std::string name = StringAt(hook, {"name"});
    if (name.empty())
      causes->push_back({"FieldValueRequired", "Required value", at + ".name"});
    else if (std::count(name.begin(), name.end(), '.') < 2)
      causes->push_back({"FieldValueInvalid",
                         fmt::format("Invalid value: \"{}\": should be a domain with at least "
                                     "three segments separated by dots",
                                     name),
                         at + ".name"});
    const bool url = Find(hook, {"clientConfig", "url"}),
               service = Find(hook, {"clientConfig", "service"});
    if (url == service)
      causes->push_back({"FieldValueRequired",
                         "Required value: exactly one of url or service is required",
                         at + ".clientConfig"});
    if (const std::string effects = StringAt(hook, {"sideEffects"});
        effects != "None" && effects != "NoneOnDryRun")
      causes->push_back(
          {"FieldValueNotSupported",
           fmt::format("Unsupported value: \"{}\": supported values: \"None\", \"NoneOnDryRun\"",
                       effects),
           at + ".sideEffects"});
    const Json* versions = Find(hook, {"admissionReviewVersions"});
    if (!versions || versions->empty())
      causes->push_back({"FieldValueRequired", "Required value: must specify one of v1, v1beta1",
                         at + ".admissionReviewVersions"});
    for (const char* selector : {"namespaceSelector", "objectSelector"})
      if (const Json* value = Find(hook, {selector});
          value && !kubeapi::LabelSelector::FromObject(*value).ok())
        causes->push_back(
            {"FieldValueInvalid", "Invalid value: not a label selector", at + "." + selector});
    const int64_t timeout = IntAt(hook, {"timeoutSeconds"}, 10);
    if (timeout < 1 || timeout > 30)
      causes->push_back(
          {"FieldValueInvalid",
           fmt::format("Invalid value: {}: the timeout value must be between 1 and 30 seconds",
                       timeout),
           at + ".timeoutSeconds"});
  }
}

void PrepareCsr(const Engine& engine, const User& user, Json* object) {
  Json& spec = (*object)["spec"];
  spec["username"] = user.name;
  if (!user.groups.empty()) spec["groups"] = user.groups;
  if (!user.uid.empty()) spec["uid"] = user.uid;
  if (!user.extra.empty()) spec["extra"] = user.extra;
}

}  // namespace

void DefaultKind(const Kind& kind, Json* object) {
  const std::string key = kind.resource_key();
  if (key == "pods") {
    if (Json* spec = Child(object, "spec")) DefaultPodSpec(spec);
  } else if (kind.group == "apps" || kind.group == "batch" || key == "replicationcontrollers") {
    DefaultWorkload(key, object);
  } else if (key == "services") {
    DefaultService(object);
  } else if (key == "secrets") {
    FoldStringData(object);
  } else if (kind.group == "rbac.authorization.k8s.io") {
    DefaultRbac(kind, object);
  } else if (key == "customresourcedefinitions.apiextensions.k8s.io") {
    DefaultCrd(object);
  } else if (key == "networkpolicies.networking.k8s.io") {
    Json types = Json::array({"Ingress"});
    if (Find(*object, {"spec", "egress"})) types.push_back("Egress");
    SetDefault(Child(object, "spec"), "policyTypes", std::move(types));
  } else if (key == "namespaces") {
    if (!Find(*object, {"spec", "finalizers"}) && !kubeapi::IsBeingDeleted(*object))
      (*object)["spec"]["finalizers"] = Json::array({"kubernetes"});
  }
}

void PrepareCreate(const Engine& engine, const Kind& kind, const KindVersion& version,
                   const User& user, Json* object) {
  const std::string key = kind.resource_key();
  const bool keeps_status = !version.status || key == "nodes" || (kind.custom && !version.status);
  if (!keeps_status) object->erase("status");
  if (key == "pods") {
    PreparePod(object);
  } else if (key == "namespaces") {
    (*object)["status"] = {{"phase", "Active"}};
    (*object)["metadata"]["labels"]["kubernetes.io/metadata.name"] = kubeapi::NameOf(*object);
  } else if (key == "services") {
    (*object)["status"] = {{"loadBalancer", Json::object()}};
  } else if (key == "nodes") {
    if (!object->contains("status")) (*object)["status"] = Json::object();
    SetDefault(Child(object, "status"), "daemonEndpoints", {{"kubeletEndpoint", {{"Port", 0}}}});
  } else if (key == "deployments.apps" || key == "jobs.batch" || key == "cronjobs.batch") {
    (*object)["status"] = Json::object();
    if (key == "jobs.batch") PrepareJob(object);
  } else if (key == "replicasets.apps" || key == "replicationcontrollers") {
    (*object)["status"] = {{"replicas", 0}};
  } else if (key == "statefulsets.apps") {
    (*object)["status"] = {{"replicas", 0}, {"availableReplicas", 0}};
  } else if (key == "daemonsets.apps") {
    (*object)["metadata"]["annotations"]["deprecated.daemonset.template.generation"] = "1";
    (*object)["status"] = {{"currentNumberScheduled", 0},
                           {"desiredNumberScheduled", 0},
                           {"numberMisscheduled", 0},
                           {"numberReady", 0}};
  } else if (key == "ingresses.networking.k8s.io") {
    (*object)["status"] = {{"loadBalancer", Json::object()}};
  } else if (key == "poddisruptionbudgets.policy") {
    (*object)["status"] = {{"currentHealthy", 0},
                           {"desiredHealthy", 0},
                           {"disruptionsAllowed", 0},
                           {"expectedPods", 0}};
  } else if (key == "horizontalpodautoscalers.autoscaling") {
    (*object)["status"] = {{"desiredReplicas", 0}, {"currentMetrics", nullptr}};
  } else if (key == "persistentvolumeclaims" || key == "persistentvolumes") {
    (*object)["status"] = {{"phase", "Pending"}};
  } else if (key == "certificatesigningrequests.certificates.k8s.io") {
    PrepareCsr(engine, user, object);
    (*object)["status"] = Json::object();
  } else if (key == "customresourcedefinitions.apiextensions.k8s.io") {
    FinishCrd(engine.NowText(), nullptr, object);
  }
}

void PrepareUpdate(const Engine& engine, const Kind& kind, const Json& old,
                   const std::string& subresource, const User& user, Json* object) {
  const std::string key = kind.resource_key();
  if (key == "namespaces" && subresource.empty()) {
    // Finalizers of a namespace change only through its finalize subresource.
    if (const Json* finalizers = Find(old, {"spec", "finalizers"}))
      (*object)["spec"]["finalizers"] = *finalizers;
    (*object)["metadata"]["labels"]["kubernetes.io/metadata.name"] = kubeapi::NameOf(*object);
  } else if (key == "certificatesigningrequests.certificates.k8s.io") {
    if (const Json* spec = Find(old, {"spec"})) (*object)["spec"] = *spec;
    Json* conditions = Child(Child(object, "status"), "conditions");
    if (conditions && conditions->is_array())
      for (Json& condition : *conditions) {
        SetDefault(&condition, "status", "True");
        SetDefault(&condition, "lastUpdateTime", engine.NowText());
        SetDefault(&condition, "lastTransitionTime", engine.NowText());
      }
  } else if (key == "customresourcedefinitions.apiextensions.k8s.io" && subresource.empty()) {
    FinishCrd(engine.NowText(), &old, object);
  } else if (key == "services" && subresource == "status") {
    Json* ingress = Child(Child(Child(object, "status"), "loadBalancer"), "ingress");
    if (ingress && ingress->is_array())
      for (Json& each : *ingress)
        if (!StringAt(each, {"ip"}).empty()) SetDefault(&each, "ipMode", "VIP");
  } else if (key == "secrets" && !Find(*object, {"type"})) {
    (*object)["type"] = StringAt(old, {"type"});
  } else if (key == "jobs.batch" && subresource.empty()) {
    if (const Json* selector = Find(old, {"spec", "selector"}))
      (*object)["spec"]["selector"] = *selector;
  }
}

std::vector<StatusCause> Validate(const Kind& kind, const KindVersion& version, const Json& object,
                                  const Json* old) {
  std::vector<StatusCause> causes;
  if (kind.custom) return causes;
  const std::string key = kind.resource_key();
  if (key == "pods") {
    ValidatePod(object, old, &causes);
  } else if (key == "deployments.apps" || key == "replicasets.apps" || key == "statefulsets.apps" ||
             key == "daemonsets.apps" || key == "replicationcontrollers") {
    ValidateWorkload(key, object, old, &causes);
  } else if (key == "jobs.batch") {
    ValidateJob(object, old, &causes);
  } else if (key == "services") {
    ValidateService(object, old, &causes);
  } else if (key == "secrets" || key == "configmaps") {
    ValidateConfig(object, old, key == "secrets", &causes);
  } else if (key == "rolebindings.rbac.authorization.k8s.io" ||
             key == "clusterrolebindings.rbac.authorization.k8s.io") {
    ValidateBinding(object, old, &causes);
  } else if (key == "mutatingwebhookconfigurations.admissionregistration.k8s.io" ||
             key == "validatingwebhookconfigurations.admissionregistration.k8s.io") {
    ValidateWebhooks(object, &causes);
  } else if (key == "customresourcedefinitions.apiextensions.k8s.io") {
    ValidateCrd(object, old, &causes);
  } else if (key == "certificatesigningrequests.certificates.k8s.io") {
    Require(object, {"spec", "signerName"}, &causes);
    Require(object, {"spec", "request"}, &causes);
    const std::string request = StringAt(object, {"spec", "request"});
    const auto pem = base::Base64Decode(request);
    if (!request.empty() && (!pem.ok() || pem->find("CERTIFICATE REQUEST-----") == pem->npos))
      causes.push_back({"FieldValueInvalid",
                        fmt::format("Invalid value: \"{}\": PEM block type must be CERTIFICATE "
                                    "REQUEST",
                                    request),
                        "spec.request"});
    if (const Json* usages = Find(object, {"spec", "usages"}); !usages || usages->empty())
      causes.push_back(
          {"FieldValueRequired", "Required value: usages must be specified", "spec.usages"});
  } else if (key == "endpointslices.discovery.k8s.io") {
    Require(object, {"addressType"}, &causes);
    if (old && StringAt(*old, {"addressType"}) != StringAt(object, {"addressType"}))
      causes.push_back({"FieldValueInvalid",
                        fmt::format("Invalid value: \"{}\": field is immutable",
                                    StringAt(object, {"addressType"})),
                        "addressType"});
  } else if (key == "horizontalpodautoscalers.autoscaling") {
    Require(object, {"spec", "scaleTargetRef", "name"}, &causes);
    Require(object, {"spec", "scaleTargetRef", "kind"}, &causes);
    if (IntAt(object, {"spec", "maxReplicas"}) < 1)
      causes.push_back({"FieldValueInvalid",
                        fmt::format("Invalid value: {}: must be greater than 0",
                                    IntAt(object, {"spec", "maxReplicas"})),
                        "spec.maxReplicas"});
  }
  return causes;
}

bool HasGeneration(const Kind& kind) {
  static const std::set<std::string_view> without = {"configmaps",
                                                     "endpoints",
                                                     "events",
                                                     "limitranges",
                                                     "namespaces",
                                                     "nodes",
                                                     "persistentvolumeclaims",
                                                     "persistentvolumes",
                                                     "pods",
                                                     "podtemplates",
                                                     "resourcequotas",
                                                     "secrets",
                                                     "serviceaccounts",
                                                     "services",
                                                     "leases",
                                                     "clusterroles",
                                                     "clusterrolebindings",
                                                     "roles",
                                                     "rolebindings",
                                                     "controllerrevisions",
                                                     "csinodes",
                                                     "csidrivers",
                                                     "storageclasses",
                                                     "csistoragecapacities",
                                                     "volumeattachments",
                                                     "runtimeclasses",
                                                     "apiservices",
                                                     "certificatesigningrequests",
                                                     "horizontalpodautoscalers"};
  return !without.count(kind.plural);
}

}  // namespace isthmus::lab::apiserver
