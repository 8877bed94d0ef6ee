#include "base/strings.h"
#include "install/render_parts.h"

namespace isthmus::install {
namespace {

using kubeapi::BoolAt;
using kubeapi::StringAt;

Json Requirement(std::string_view key, std::string_view op,
                 std::initializer_list<std::string> values = {}) {
  Json requirement = {{"key", key}, {"operator", op}};
  if (values.size() != 0) requirement["values"] = values;
  return requirement;
}

/// Where the API server finds the control plane: a URL, or a Service.
Json ClientConfig(const Installation& installation, std::string_view path, std::string_view url,
                  std::string_view bundle) {
  Json client = Json::object();
  if (!url.empty()) {
    client["url"] = url;
  } else {
    client["service"] = {{"name", "istiod" + Suffix(installation)},
                         {"namespace", installation.ns},
                         {"path", path},
                         {"port", 443}};
  }
  if (!bundle.empty()) client["caBundle"] = bundle;
  return client;
}

/// The path tells whose pods are asked about: also another control plane may be asked, while ours
/// is away.
std::string InjectionPath(const Installation& installation) {
  const Json& values = installation.values;
  std::string path = StringAt(values, {"istiodRemote", "injectionPath"});
  if (!path.empty()) return path;
  path = "/inject";
  std::string cluster = StringAt(values, {"global", "multiCluster", "clusterName"});
  if (cluster.empty()) return path;
  path += "/cluster/" + base::ReplaceAll(cluster, "/", "--slash--");
  std::string network = StringAt(values, {"global", "network"});
  if (!network.empty()) path += "/net/" + base::ReplaceAll(network, "/", "--slash--");
  return path;
}

Json InjectionEntry(const Installation& installation, std::string_view prefix, Json in_namespace,
                    Json in_object) {
  const Json& values = installation.values;
  std::string path = StringAt(values, {"istiodRemote", "injectionPath"});
  return {
      {"name", std::string(prefix) + "sidecar-injector.istio.io"},
      {"clientConfig", ClientConfig(installation, InjectionPath(installation),
                                    StringAt(values, {"istiodRemote", "injectionURL"}),
                                    StringAt(values, {"istiodRemote", "injectionCABundle"}))},
      {"sideEffects", "None"},
      {"rules",
       {{{"operations", {"CREATE"}},
         {"apiGroups", {""}},
         {"apiVersions", {"v1"}},
         {"resources", {"pods"}}}}},
      {"failurePolicy", "Fail"},
      {"reinvocationPolicy", StringAt(values, {"sidecarInjectorWebhook", "reinvocationPolicy"})},
      {"admissionReviewVersions", {"v1"}},
      {"namespaceSelector", {{"matchExpressions", std::move(in_namespace)}}},
      {"objectSelector", {{"matchExpressions", std::move(in_object)}}}};
}

Json InjectionWebhook(const Installation& installation) {
  const std::string revision = installation.revision.empty() ? "default" : installation.revision;
  constexpr std::string_view kRev = "istio.io/rev";
  constexpr std::string_view kNamespace = "istio-injection";
  constexpr std::string_view kPod = "sidecar.istio.io/inject";
  std::string name = "istio-sidecar-injector" + Suffix(installation);
  if (installation.ns != "istio-system") name += "-" + installation.ns;
  Json webhook = NewObject(installation, "admissionregistration.k8s.io/v1",
                           "MutatingWebhookConfiguration", name, false);
  webhook["metadata"]["labels"]["app"] = "sidecar-injector";
  Json not_false = Requirement(kPod, "NotIn", {"false"});
  Json no_rev = Requirement(kRev, "DoesNotExist");
  Json no_label = Requirement(kNamespace, "DoesNotExist");
  Json entries = {InjectionEntry(installation, "rev.namespace.",
                                 {Requirement(kRev, "In", {revision}), no_label}, {not_false}),
                  InjectionEntry(installation, "rev.object.", {no_rev, no_label},
                                 {not_false, Requirement(kRev, "In", {revision})})};
  if (installation.revision.empty()) {
    entries.push_back(InjectionEntry(installation, "namespace.",
                                     {Requirement(kNamespace, "In", {"enabled"})}, {not_false}));
    entries.push_back(InjectionEntry(installation, "object.", {no_label, no_rev},
                                     {Requirement(kPod, "In", {"true"}), no_rev}));
    if (BoolAt(installation.values, {"sidecarInjectorWebhook", "enableNamespacesByDefault"})) {
      Json system =
          Requirement("kubernetes.io/metadata.name", "NotIn",
                      {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"});
      entries.push_back(InjectionEntry(installation, "auto.", {no_label, no_rev, system},
                                       {Requirement(kPod, "DoesNotExist"), no_rev}));
    }
  }
  webhook["webhooks"] = std::move(entries);
  return webhook;
}

Json ValidationEntry(const Installation& installation, std::string_view name, Json in_object) {
  const Json& values = installation.values;
  std::string policy = StringAt(values, {"base", "validationFailurePolicy"});
  return {{"name", name},
          {"clientConfig",
           ClientConfig(installation, "/validate", StringAt(values, {"base", "validationURL"}),
                        StringAt(values, {"base", "validationCABundle"}))},
          {"rules",
           {{{"operations", {"CREATE", "UPDATE"}},
             {"apiGroups",
              {"security.istio.io", "networking.istio.io", "telemetry.istio.io",
               "extensions.istio.io"}},
             {"apiVersions", {"*"}},
             {"resources", {"*"}}}}},
          {"failurePolicy", policy.empty() ? "Ignore" : policy},
          {"sideEffects", "None"},
          {"admissionReviewVersions", {"v1"}},
          {"objectSelector", {{"matchExpressions", std::move(in_object)}}}};
}

Json ValidationWebhook(const Installation& installation) {
  const std::string revision = installation.revision.empty() ? "default" : installation.revision;
  Json webhook =
      NewObject(installation, "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration",
                "istio-validator" + Suffix(installation) + "-" + installation.ns, false);
  webhook["metadata"]["labels"]["app"] = "istiod";
  webhook["metadata"]["labels"]["istio"] = "istiod";
  webhook["webhooks"] = {ValidationEntry(installation, "rev.validation.istio.io",
                                         {Requirement("istio.io/rev", "In", {revision})})};
  // The default revision also checks what names no revision.
  if (installation.revision.empty())
    webhook["webhooks"].push_back(ValidationEntry(installation, "validation.istio.io",
                                                  {Requirement("istio.io/rev", "DoesNotExist")}));
  return webhook;
}

}  // namespace

std::vector<Json> RenderWebhooks(const Installation& installation) {
  const Json& values = installation.values;
  std::vector<Json> objects;
  if (BoolAt(values, {"global", "operatorManageWebhooks"})) return objects;
  objects.push_back(InjectionWebhook(installation));
  bool control_plane =
      installation.Enabled("pilot") && (!installation.remote() || installation.local_injector());
  if ((control_plane || BoolAt(values, {"global", "configCluster"})) &&
      BoolAt(values, {"global", "configValidation"}, true))
    objects.push_back(ValidationWebhook(installation));
  return objects;
}

}  // namespace isthmus::install
