#include "inject/annotations.h"

#include <string>
#include <string_view>

#include "base/net.h"
#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::inject {
namespace {

using base::Code;
using base::Error;
using base::Status;

bool Number(std::string_view text, int64_t most, int64_t* out) {
  const auto value = base::ParseInt(text);
  if (!value.ok() || *value < 0 || *value > most) return false;
  *out = *value;
  return true;
}

Status Anything(std::string_view) { return {}; }

Status Boolean(std::string_view text) {
  if (text == "true" || text == "false") return {};
  return Error(Code::kInvalidArgument, "must be \"true\" or \"false\"");
}

Status Cidrs(std::string_view text) {
  for (const std::string& item : base::SplitList(text)) {
    const auto [address, length] = base::Cut(item, "/");
    int64_t bits = 0;
    const bool v6 = address.find(':') != address.npos;
    if (!base::IsIpAddress(address) || !Number(length, v6 ? 128 : 32, &bits))
      return Error(Code::kInvalidArgument, "'{}' is not an IP range such as 10.0.0.0/8", item);
  }
  return {};
}
Status CidrsOrAll(std::string_view text) { return text == "*" ? Status() : Cidrs(text); }

Status Ports(std::string_view text) {
  for (const std::string& item : base::SplitList(text)) {
    int64_t port = 0;
    if (!Number(item, 65535, &port))
      return Error(Code::kInvalidArgument, "'{}' is not a port", item);
  }
  return {};
}
Status PortsOrAll(std::string_view text) { return text == "*" ? Status() : Ports(text); }

Status Unsigned(std::string_view text) {
  int64_t value = 0;
  if (Number(text, UINT32_MAX, &value)) return {};
  return Error(Code::kInvalidArgument, "must be a whole number from 0 to 4294967295");
}
Status Port(std::string_view text) {
  int64_t value = 0;
  if (Number(text, 65535, &value)) return {};
  return Error(Code::kInvalidArgument, "must be a port, or 0");
}
Status Interception(std::string_view text) {
  if (text == "REDIRECT" || text == "TPROXY" || text == "NONE") return {};
  return Error(Code::kInvalidArgument, "must be REDIRECT, TPROXY or NONE");
}
Status Quantity(std::string_view text) {
  const auto parsed = kubeapi::ParseQuantityMilli(text);
  return parsed.ok() ? Status()
                     : Error(Code::kInvalidArgument, "is not a quantity such as 100m or 128Mi");
}
Status JsonObject(std::string_view text) {
  const auto parsed = kubeapi::ParseJson(text);
  if (parsed.ok() && parsed->is_object()) return {};
  return Error(Code::kInvalidArgument, "must be a JSON object");
}

struct Rule {
  std::string_view name;
  Status (*check)(std::string_view);
};
constexpr Rule kRules[] = {
    {"sidecar.istio.io/interceptionMode", Interception},
    {"sidecar.istio.io/rewriteAppHTTPProbers", Boolean},
    {"sidecar.istio.io/nativeSidecar", Boolean},
    {"sidecar.istio.io/capNetBindService", Boolean},
    {"sidecar.istio.io/proxyCPU", Quantity},
    {"sidecar.istio.io/proxyCPULimit", Quantity},
    {"sidecar.istio.io/proxyMemory", Quantity},
    {"sidecar.istio.io/proxyMemoryLimit", Quantity},
    {"sidecar.istio.io/userVolume", JsonObject},
    {"sidecar.istio.io/userVolumeMount", JsonObject},
    {"sidecar.istio.io/status", Anything},
    {"status.sidecar.istio.io/port", Port},
    {"readiness.status.sidecar.istio.io/initialDelaySeconds", Unsigned},
    {"readiness.status.sidecar.istio.io/periodSeconds", Unsigned},
    {"readiness.status.sidecar.istio.io/failureThreshold", Unsigned},
    {"traffic.sidecar.istio.io/includeOutboundIPRanges", CidrsOrAll},
    {"traffic.sidecar.istio.io/excludeOutboundIPRanges", Cidrs},
    {"traffic.sidecar.istio.io/includeInboundPorts", PortsOrAll},
    {"traffic.sidecar.istio.io/excludeInboundPorts", Ports},
    {"traffic.sidecar.istio.io/includeOutboundPorts", Ports},
    {"traffic.sidecar.istio.io/excludeOutboundPorts", Ports},
    {"prometheus.istio.io/merge-metrics", Boolean},
};

}  // namespace

Status ValidateAnnotations(const kubeapi::Json& pod) {
  for (const Rule& rule : kRules) {
    const kubeapi::Json* value = kubeapi::Find(pod, {"metadata", "annotations", rule.name});
    if (value == nullptr) continue;
    if (!value->is_string())
      return Error(Code::kInvalidArgument, "annotation {} must be a string", rule.name);
    const std::string text = value->get<std::string>();
    const Status status = rule.check(text);
    if (!status.ok())
      return Error(Code::kInvalidArgument, "annotation {}: \"{}\" {}", rule.name, text,
                   status.message());
  }
  return {};
}

}  // namespace isthmus::inject
