#include "inject/probes.h"

#include <fmt/format.h>

#include <optional>

#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::inject {
namespace {

using kubeapi::Find;
using kubeapi::FindMutable;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

// A port as a number; names are looked up among the container's ports.
std::optional<int64_t> PortOf(const Json& port, const Json& container) {
  if (port.is_number_integer()) return port.get<int64_t>();
  if (!port.is_string()) return {};
  const std::string name = port.get<std::string>();
  if (const auto number = base::ParseInt(name); number.ok()) return *number;
  for (const Json& each : ItemsAt(container, {"ports"}))
    if (StringAt(each, {"name"}) == name) return kubeapi::IntAt(each, {"containerPort"});
  return {};
}

// The original as the agent needs it (httpGet, tcpSocket or grpc, with its port as a number), or
// null when the probe stays as it is.
Json Original(const Json& probe, const Json& container, int64_t status_port) {
  for (const char* kind : {"httpGet", "tcpSocket", "grpc"}) {
    const Json* handler = Find(probe, {kind});
    if (handler == nullptr || !handler->is_object()) continue;
    const Json* port = Find(*handler, {"port"});
    const auto number = port == nullptr ? std::nullopt : PortOf(*port, container);
    if (!number || *number == status_port) return nullptr;
    Json original = {{kind, *handler}};
    original[kind]["port"] = *number;
    return original;
  }
  return nullptr;
}

void PointAtAgent(Json& probe, const std::string& path, int64_t status_port) {
  Json get = {{"path", path}, {"port", status_port}};
  if (const Json* headers = Find(probe, {"httpGet", "httpHeaders"})) get["httpHeaders"] = *headers;
  for (const char* kind : {"httpGet", "tcpSocket", "grpc"}) probe.erase(kind);
  probe["httpGet"] = std::move(get);
}

void Rewrite(Json& container, Json& originals, int64_t status_port) {
  const std::string name = StringAt(container, {"name"});
  constexpr std::pair<const char*, const char*> kProbes[] = {
      {"readinessProbe", "readyz"}, {"livenessProbe", "livez"}, {"startupProbe", "startupz"}};
  for (const auto& [field, page] : kProbes) {
    Json* probe = FindMutable(container, {field});
    if (probe == nullptr) continue;
    Json original = Original(*probe, container, status_port);
    if (original.is_null()) continue;
    if (const Json* timeout = Find(*probe, {"timeoutSeconds"}))
      original["timeoutSeconds"] = *timeout;
    const std::string path = fmt::format("/app-health/{}/{}", name, page);
    originals[path] = std::move(original);
    PointAtAgent(*probe, path, status_port);
  }
  constexpr std::pair<const char*, const char*> kHooks[] = {{"preStop", "prestopz"},
                                                            {"postStart", "poststartz"}};
  for (const auto& [field, page] : kHooks) {
    Json* hook = FindMutable(container, {"lifecycle", field});
    if (hook == nullptr) continue;
    Json original = Original(*hook, container, status_port);
    if (original.is_null()) continue;
    const std::string path = fmt::format("/app-lifecycle/{}/{}", name, page);
    originals[path] = std::move(original);
    PointAtAgent(*hook, path, status_port);
  }
}

}  // namespace

void RewriteProbes(const Job& job, Json& pod) {
  const std::string said = job.Annotation("sidecar.istio.io/rewriteAppHTTPProbers");
  const bool on = said.empty()
                      ? job.config.Flag({"sidecarInjectorWebhook", "rewriteAppHTTPProbe"}, true)
                      : said == "true";
  if (!on || job.status_port() == 0) return;
  Json originals = Json::object();
  for (const char* list : {"containers", "initContainers"}) {
    Json* containers = FindMutable(pod, {"spec", list});
    if (containers == nullptr || !containers->is_array()) continue;
    for (Json& container : *containers)
      if (container.is_object() && StringAt(container, {"name"}) != kProxyName)
        Rewrite(container, originals, job.status_port());
  }
  Json* proxy = FindProxy(pod);
  if (proxy == nullptr) return;
  // The pod of a second injection shows only the rewritten probes, so what the first one recorded
  // wins.
  const auto recorded =
      kubeapi::ParseJson(job.recorded_probes.empty() ? "{}" : job.recorded_probes);
  if (recorded.ok() && recorded->is_object())
    for (const auto& [path, original] : recorded->items()) originals[path] = original;
  if (!originals.empty()) SetEnv(*proxy, "ISTIO_KUBE_APP_PROBERS", kubeapi::ToJson(originals));
}

}  // namespace isthmus::inject
