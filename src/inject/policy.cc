#include "inject/policy.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "kubeapi/meta.h"

namespace isthmus::inject {
namespace {

constexpr std::array<std::string_view, 4> kSystemNamespaces = {
    "kube-system", "kube-public", "kube-node-lease", "local-path-storage"};
constexpr std::string_view kSwitch = "sidecar.istio.io/inject";

bool AnyMatches(const std::vector<kubeapi::LabelSelector>& selectors, const Json& pod) {
  return std::ranges::any_of(selectors,
                             [&](const auto& selector) { return selector.MatchesObject(pod); });
}

bool IsTrue(std::string_view text) {
  return text == "true" || text == "True" || text == "y" || text == "yes" || text == "on" ||
         text == "1";
}
bool IsFalse(std::string_view text) {
  return text == "false" || text == "False" || text == "n" || text == "no" || text == "off" ||
         text == "0";
}

}  // namespace

Decision Decide(const Json& pod, std::string_view ns, const InjectorConfig& config) {
  if (kubeapi::BoolAt(pod, {"spec", "hostNetwork"}))
    return {false, "the pod uses the host's network"};
  if (std::ranges::find(kSystemNamespaces, ns) != kSystemNamespaces.end())
    return {false, "pods of namespace " + std::string(ns) + " are never injected"};
  std::string said = kubeapi::LabelOf(pod, kSwitch);
  if (said.empty()) said = kubeapi::AnnotationOf(pod, kSwitch);
  if (IsTrue(said)) return {true, ""};
  if (IsFalse(said)) return {false, "the pod's label sidecar.istio.io/inject says no"};
  if (!said.empty())
    LOG_WARN("inject",
             "pod {}/{}: {} is \"{}\", neither true nor false; the default policy decides", ns,
             kubeapi::NameOf(pod), kSwitch, said);
  if (AnyMatches(config.never, pod)) return {false, "neverInjectSelector picks the pod"};
  if (AnyMatches(config.always, pod)) return {true, ""};
  if (config.policy == "enabled") return {true, ""};
  if (config.policy != "disabled")
    LOG_ERROR("inject",
              "injector policy \"{}\" is neither enabled nor disabled; no pod is injected",
              config.policy);
  return {false, "the injector's policy is " + config.policy};
}

}  // namespace isthmus::inject
