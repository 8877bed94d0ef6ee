#include "inject/pod.h"

#include <algorithm>
#include <cctype>

#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::inject {
namespace {

using kubeapi::StringAt;

bool AllDigits(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
}

// The name without "-<hash>" when it ends with it.
bool StripHash(std::string& name, const std::string& hash) {
  if (hash.empty() || !name.ends_with("-" + hash)) return false;
  name.resize(name.size() - hash.size() - 1);
  return true;
}

}  // namespace

Owner OwnerOf(const Json& pod) {
  Owner self{kubeapi::NameOf(pod), "Pod", "v1"};
  const std::string generate = StringAt(pod, {"metadata", "generateName"});
  if (generate.empty()) return self;
  if (self.name.empty()) {
    self.name = generate;
    while (self.name.ends_with('-')) self.name.pop_back();
  }
  const Json* controller = kubeapi::ControllerOf(pod);
  if (controller == nullptr) return self;
  Owner owner{StringAt(*controller, {"name"}), StringAt(*controller, {"kind"}),
              StringAt(*controller, {"apiVersion"})};
  if (owner.kind == "ReplicaSet") {
    if (StripHash(owner.name, kubeapi::LabelOf(pod, "rollouts-pod-template-hash"))) {
      owner.kind = "Rollout";
      owner.api_version = "v1alpha1";
    } else if (StripHash(owner.name, kubeapi::LabelOf(pod, "pod-template-hash"))) {
      owner.kind = "Deployment";
    }
  } else if (owner.kind == "ReplicationController") {
    const std::string config = kubeapi::LabelOf(pod, "deploymentconfig");
    if (!config.empty()) owner = {config, "DeploymentConfig", "apps.openshift.io/v1"};
  } else if (owner.kind == "Job") {
    const size_t dash = owner.name.rfind('-');
    if (dash != std::string::npos) {
      const std::string_view tail = std::string_view(owner.name).substr(dash + 1);
      if (tail.size() >= 8 && tail.size() <= 10 && AllDigits(tail))
        owner = {owner.name.substr(0, dash), "CronJob", "batch/v1"};
    }
  }
  return owner;
}

std::string Job::Annotation(std::string_view name, std::string_view fallback) const {
  const Json* value = kubeapi::Find(pod, {"metadata", "annotations", name});
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string(fallback);
}

std::string Job::ProxyText(std::string_view field) const {
  const Json* value = kubeapi::Find(proxy_config, {field});
  if (value == nullptr) return "";
  return value->is_string() ? value->get<std::string>() : kubeapi::ToJson(*value);
}

int64_t Job::status_port() const {
  const std::string said = Annotation("status.sidecar.istio.io/port");
  const auto port = base::ParseInt(said.empty() ? ProxyText("statusPort") : said);
  return port.ok() ? *port : 15020;
}

std::string Job::interception_mode() const {
  std::string mode = Annotation("sidecar.istio.io/interceptionMode");
  if (mode.empty()) mode = ProxyText("interceptionMode");
  return mode.empty() ? "REDIRECT" : mode;
}

bool Job::hold_application() const {
  const std::string said = ProxyText("holdApplicationUntilProxyStarts");
  if (!said.empty()) return said == "true";
  return config.Flag({"global", "proxy", "holdApplicationUntilProxyStarts"}, false);
}

Json* FindContainer(Json& pod, std::string_view list, std::string_view name) {
  Json* containers = kubeapi::FindMutable(pod, {"spec", list});
  if (containers == nullptr || !containers->is_array()) return nullptr;
  for (Json& container : *containers)
    if (StringAt(container, {"name"}) == name) return &container;
  return nullptr;
}

const Json* FindContainer(const Json& pod, std::string_view list, std::string_view name) {
  for (const Json& container : kubeapi::ItemsAt(pod, {"spec", list}))
    if (StringAt(container, {"name"}) == name) return &container;
  return nullptr;
}

std::string GetEnv(const Json& container, std::string_view name) {
  for (const Json& variable : kubeapi::ItemsAt(container, {"env"}))
    if (StringAt(variable, {"name"}) == name) return StringAt(variable, {"value"});
  return "";
}

void SetEnv(Json& container, std::string_view name, std::string_view value) {
  Json& env = container["env"];
  if (!env.is_array()) env = Json::array();
  for (Json& variable : env) {
    if (StringAt(variable, {"name"}) != name) continue;
    variable = {{"name", name}, {"value", value}};
    return;
  }
  env.push_back({{"name", name}, {"value", value}});
}

Json* FindProxy(Json& pod) {
  Json* proxy = FindContainer(pod, "containers", kProxyName);
  return proxy != nullptr ? proxy : FindContainer(pod, "initContainers", kProxyName);
}

}  // namespace isthmus::inject
