#include "inject/prometheus.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::inject {
namespace {

using base::Code;
using base::Error;
using base::Status;

constexpr std::array<int64_t, 9> kProxyPorts = {15000, 15001, 15004, 15006, 15008,
                                                15020, 15021, 15053, 15090};

// Prometheus itself sees annotation names in this form, so users write them in several.
std::string Sanitized(std::string_view name) {
  std::string out(name);
  for (char& c : out)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return out;
}

struct Scrape {
  std::string scrape;
  std::string port;
  std::string path;
  std::string targets;
  bool any = false;
};

// Takes the annotations out of the pod.
Scrape Take(Json& annotations) {
  Scrape found;
  const std::pair<std::string, std::string*> wanted[] = {
      {"prometheus_io_scrape", &found.scrape},
      {"prometheus_io_port", &found.port},
      {"prometheus_io_path", &found.path},
      {"prometheus_istio_io_scrape_targets", &found.targets}};
  for (auto it = annotations.begin(); it != annotations.end();) {
    const std::string name = Sanitized(it.key());
    bool taken = false;
    for (const auto& [key, out] : wanted) {
      if (name != key || !it->is_string()) continue;
      *out = it->get<std::string>();
      taken = true;
    }
    found.any |= taken;
    it = taken ? annotations.erase(it) : std::next(it);
  }
  return found;
}

Status CheckPort(const std::string& text, int64_t status_port, std::string_view where) {
  const auto port = base::ParseInt(text);
  if (!port.ok() || *port < 1 || *port > 65535)
    return Error(Code::kInvalidArgument, "annotation {}: \"{}\" is not a port", where, text);
  if (*port == status_port || std::ranges::find(kProxyPorts, *port) != kProxyPorts.end())
    return Error(Code::kInvalidArgument,
                 "annotation {}: port {} is one of the proxy's own; name a port of the application",
                 where, *port);
  return {};
}

base::Result<Json> Targets(const std::string& text, int64_t status_port) {
  Json targets = Json::array();
  for (const std::string& item : base::SplitList(text)) {
    const auto [port, path] = base::Cut(item, ":");
    const Status status =
        CheckPort(std::string(port), status_port, "prometheus.istio.io/scrape-targets");
    if (!status.ok()) return status;
    targets.push_back(
        {{"port", port}, {"path", path.empty() ? std::string_view("/metrics") : path}});
  }
  return targets;
}

}  // namespace

Status MergePrometheus(const Job& job, Json& pod) {
  if (!job.mesh.prometheus_merge || job.status_port() == 0) return {};
  if (job.Annotation("prometheus.istio.io/merge-metrics") == "false") return {};
  Json* proxy = FindProxy(pod);
  if (proxy == nullptr) return {};
  Json& annotations = kubeapi::Ensure(pod, {"metadata", "annotations"});
  if (!annotations.is_object()) annotations = Json::object();
  const std::string agent_port = std::to_string(job.status_port());
  Json rest = annotations;
  const Scrape found = Take(rest);
  if (found.scrape == "false" || found.port == agent_port) return {};
  if (found.any) {
    if (!found.port.empty())
      RETURN_IF_ERROR(CheckPort(found.port, job.status_port(), "prometheus.io/port"),
                      "merging metrics");
    Json saved = {{"scrape", found.scrape}, {"path", found.path}, {"port", found.port}};
    if (!found.targets.empty()) {
      ASSIGN_OR_RETURN(saved["targets"], Targets(found.targets, job.status_port()),
                       "merging metrics");
    }
    SetEnv(*proxy, "ISTIO_PROMETHEUS_ANNOTATIONS", kubeapi::ToJson(saved));
  } else if (!job.recorded_prometheus.empty()) {
    SetEnv(*proxy, "ISTIO_PROMETHEUS_ANNOTATIONS", job.recorded_prometheus);
  }
  annotations = std::move(rest);
  annotations["prometheus.io/port"] = agent_port;
  annotations["prometheus.io/path"] = "/stats/prometheus";
  annotations["prometheus.io/scrape"] = "true";
  for (const Json& variable : kubeapi::ItemsAt(*proxy, {"env"})) {
    if (kubeapi::StringAt(variable, {"name"}) != "ENVOY_SECURE_MERGED_METRICS_PORT") continue;
    const std::string port = kubeapi::StringAt(variable, {"value"});
    if (!port.empty() && port != "0") annotations["prometheus.istio.io/secure-port"] = port;
  }
  return {};
}

}  // namespace isthmus::inject
