#include "inject/capture.h"

#include <fmt/format.h>

#include "inject/proxy_container.h"

namespace isthmus::inject {
namespace {

// A capture setting: the pod's annotation, else the installation's value, else the default.
std::string Setting(const Job& job, std::string_view annotation, std::string_view value,
                    std::string_view fallback = {}) {
  const std::string name = "traffic.sidecar.istio.io/" + std::string(annotation);
  if (kubeapi::Find(job.pod, {"metadata", "annotations", name}) != nullptr)
    return job.Annotation(name);
  return job.config.Text({"global", "proxy", value}, fallback);
}

std::string Ranges(const Job& job) {
  return Setting(job, "includeOutboundIPRanges", "includeIPRanges", "*");
}
std::string ExcludedRanges(const Job& job) {
  return Setting(job, "excludeOutboundIPRanges", "excludeIPRanges");
}
std::string InboundPorts(const Job& job) {
  return Setting(job, "includeInboundPorts", "includeInboundPorts", "*");
}

std::string ExcludedInboundPorts(const Job& job) {
  std::string ports = fmt::format("15090,15021,{}", job.status_port());
  const std::string own = Setting(job, "excludeInboundPorts", "excludeInboundPorts");
  return own.empty() ? ports : ports + "," + own;
}

Json Arguments(const Job& job, bool validation_only) {
  Json args = {"istio-iptables",
               "-p",
               "15001",
               "-z",
               "15006",
               "-u",
               "1337",
               "-m",
               job.interception_mode(),
               "-i",
               Ranges(job),
               "-x",
               ExcludedRanges(job),
               "-b",
               InboundPorts(job),
               "-d",
               ExcludedInboundPorts(job)};
  const auto add = [&args](std::string_view flag, const std::string& value) {
    if (value.empty()) return;
    args.push_back(flag);
    args.push_back(value);
  };
  add("-q", Setting(job, "includeOutboundPorts", "includeOutboundPorts"));
  add("-o", Setting(job, "excludeOutboundPorts", "excludeOutboundPorts"));
  std::string interfaces = job.Annotation("istio.io/reroute-virtual-interfaces");
  if (interfaces.empty())
    interfaces = job.Annotation("traffic.sidecar.istio.io/kubevirtInterfaces");
  add("-k", interfaces);
  add("-c", job.Annotation("traffic.sidecar.istio.io/excludeInterfaces"));
  args.push_back("--log_output_level=" +
                 job.Annotation("sidecar.istio.io/agentLogLevel",
                                job.config.Text({"global", "logging", "level"}, "default:info")));
  if (job.config.Flag({"global", "logAsJson"}, false)) args.push_back("--log_as_json");
  if (job.config.Flag({"global", "proxy_init", "forceApplyIptables"}, false))
    args.push_back("--force-apply");
  if (job.config.Flag({"global", "nativeNftables"}, false)) args.push_back("--native-nftables");
  if (validation_only) {
    args.push_back("--run-validation");
    args.push_back("--skip-rule-apply");
  }
  return args;
}

Json SecurityContext(const Job& job, bool validation_only) {
  const bool privileged = job.config.Flag({"global", "proxy", "privileged"}, false);
  if (validation_only) {
    return {{"allowPrivilegeEscalation", false},
            {"privileged", false},
            {"capabilities", {{"drop", Json::array({"ALL"})}}},
            {"readOnlyRootFilesystem", true},
            {"runAsGroup", kProxyGid},
            {"runAsUser", kProxyUid},
            {"runAsNonRoot", true}};
  }
  return {{"allowPrivilegeEscalation", privileged},
          {"privileged", privileged},
          {"capabilities", {{"add", {"NET_ADMIN", "NET_RAW"}}, {"drop", Json::array({"ALL"})}}},
          {"readOnlyRootFilesystem", false},
          {"runAsGroup", 0},
          {"runAsNonRoot", false},
          {"runAsUser", 0}};
}

}  // namespace

Json CaptureContainer(const Job& job) {
  if (job.interception_mode() == "NONE") return nullptr;
  const bool cni = job.config.Flag({"pilot", "cni", "enabled"}, false);
  Json container = {{"name", cni ? kValidationName : kInitName},
                    {"image", ProxyImage(job)},
                    {"args", Arguments(job, cni)},
                    {"resources", ProxyResources(job)},
                    {"securityContext", SecurityContext(job, cni)}};
  if (const std::string policy = job.config.Text({"global", "imagePullPolicy"}); !policy.empty())
    container["imagePullPolicy"] = policy;
  if (const Json* metadata = kubeapi::Find(job.proxy_config, {"proxyMetadata"});
      metadata && metadata->is_object())
    for (const auto& [name, value] : metadata->items())
      if (value.is_string()) SetEnv(container, name, value.get<std::string>());
  return container;
}

void AddCaptureAnnotations(const Job& job, Json& annotations) {
  annotations["sidecar.istio.io/interceptionMode"] = job.interception_mode();
  annotations["traffic.sidecar.istio.io/includeOutboundIPRanges"] = Ranges(job);
  annotations["traffic.sidecar.istio.io/excludeOutboundIPRanges"] = ExcludedRanges(job);
  annotations["traffic.sidecar.istio.io/includeInboundPorts"] = InboundPorts(job);
  annotations["traffic.sidecar.istio.io/excludeInboundPorts"] = ExcludedInboundPorts(job);
  if (const std::string ports = Setting(job, "includeOutboundPorts", "includeOutboundPorts");
      !ports.empty())
    annotations["traffic.sidecar.istio.io/includeOutboundPorts"] = ports;
  if (const std::string ports = Setting(job, "excludeOutboundPorts", "excludeOutboundPorts");
      !ports.empty())
    annotations["traffic.sidecar.istio.io/excludeOutboundPorts"] = ports;
}

}  // namespace isthmus::inject
