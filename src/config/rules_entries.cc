#include <set>

#include "base/net.h"
#include "base/strings.h"
#include "config/hosts.h"
#include "config/rules.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "istio/networking/v1/workload_group.pb.h"

namespace isthmus::config::rules {
namespace {

using namespace istio::networking::v1;  // NOLINT: this file is about these messages.

bool HasPort(const ServiceEntry& spec, const std::string& name) {
  for (const ServicePort& port : spec.ports())
    if (port.name() == name) return true;
  return false;
}

void CheckHosts(const ServiceEntry& spec, const At& at) {
  if (spec.hosts_size() == 0) return at.Error("is empty");
  for (int i = 0; i < spec.hosts_size(); ++i) {
    const std::string& host = spec.hosts(i);
    if (host == "*") {
      at[i].Error("must not be *");
    } else if (host.starts_with('*') && !host.starts_with("*.")) {
      at[i].Warn(fmt::format("'{}': * matches only as the whole first label", host));
    } else {
      CheckHost(host, true, at[i]);
    }
  }
}

void CheckAddresses(const ServiceEntry& spec, const At& at) {
  for (int i = 0; i < spec.addresses_size(); ++i) {
    const std::string& address = spec.addresses(i);
    if (!IsAddressOrRange(address)) {
      at[i].Error(fmt::format("'{}' is not an address or CIDR", address));
    } else if (address.find('/') != std::string::npos && !address.ends_with("/32") &&
               !address.ends_with("/128") && spec.resolution() != ServiceEntry::NONE &&
               spec.resolution() != ServiceEntry::STATIC) {
      at[i].Error(fmt::format("'{}': a range needs resolution NONE or STATIC", address));
    }
  }
}

void CheckPorts(const Meta& meta, const ServiceEntry& spec, const At& at) {
  std::set<std::string> names;
  std::set<uint32_t> numbers;
  auto label = meta.labels.find("networking.istio.io/enable-autoallocate-ip");
  const bool allocates = spec.resolution() != ServiceEntry::NONE &&
                         (label == meta.labels.end() || label->second != "false");
  for (int i = 0; i < spec.ports_size(); ++i) {
    const ServicePort& port = spec.ports(i);
    const At where = at[i];
    CheckPortNumber(port.number(), where / "number");
    if (port.target_port() != 0) CheckPortNumber(port.target_port(), where / "targetPort");
    if (port.name().empty())
      (where / "name").Error("is missing");
    else
      CheckPortName(port.name(), where / "name");
    if (!names.insert(port.name()).second)
      (where / "name").Error(fmt::format("'{}' is given twice", port.name()));
    if (!numbers.insert(port.number()).second)
      (where / "number").Error(fmt::format("{} is given twice", port.number()));
    if (!port.protocol().empty()) CheckProtocol(port.protocol(), where / "protocol");
    const bool by_name = IsHttpOrTls(port.protocol());
    if (!by_name && spec.addresses_size() == 0 && !allocates)
      where.Warn(
          "has no address and its protocol carries no host name: every connection to the port "
          "would match");
    if (!by_name && spec.hosts_size() > 1 && spec.resolution() != ServiceEntry::NONE)
      where.Error("must be HTTP or TLS: several hosts can not be told apart otherwise");
    else if (!by_name && spec.hosts_size() > 1 && spec.addresses_size() > 0)
      where.Warn("several hosts share the addresses on a port that carries no host name");
  }
}

void CheckEndpoints(const ServiceEntry& spec, const At& at) {
  const bool dns =
      spec.resolution() == ServiceEntry::DNS || spec.resolution() == ServiceEntry::DNS_ROUND_ROBIN;
  if (spec.has_workload_selector() && spec.endpoints_size() > 0)
    at.Error("must not be set together with workloadSelector");
  for (int i = 0; i < spec.endpoints_size(); ++i) {
    CheckWorkloadEntry(spec.endpoints(i), dns, at[i]);
    for (const auto& [name, number] : spec.endpoints(i).ports())
      if (!HasPort(spec, name))
        (at[i] / "ports").Error(fmt::format("'{}' is not the name of a port of the entry", name));
  }
  switch (spec.resolution()) {
    case ServiceEntry::NONE:
      if (spec.endpoints_size() > 0) at.Error("must be empty with resolution NONE");
      break;
    case ServiceEntry::DNS:
    case ServiceEntry::DNS_ROUND_ROBIN:
      if (spec.resolution() == ServiceEntry::DNS_ROUND_ROBIN && spec.endpoints_size() > 1)
        at.Error("has more than one item, which DNS_ROUND_ROBIN can not use");
      if (spec.endpoints_size() > 0 || spec.has_workload_selector()) break;
      for (const std::string& host : spec.hosts())
        if (IsWildcardHost(host))
          at.Error(fmt::format("is empty, and '{}' can not be resolved", host));
      break;
    default:
      break;
  }
}

void CheckDynamicDns(const Meta& meta, const ServiceEntry& spec, const At& at) {
  if (spec.resolution() != ServiceEntry::DYNAMIC_DNS) return;
  for (int i = 0; i < spec.hosts_size(); ++i)
    if (!IsWildcardHost(spec.hosts(i)))
      (at / "hosts")[i].Error("must be a wildcard for DYNAMIC_DNS");
  if (spec.addresses_size() > 0) (at / "addresses").Error("must be empty with DYNAMIC_DNS");
  if (spec.endpoints_size() > 0) (at / "endpoints").Error("must be empty with DYNAMIC_DNS");
  for (int i = 0; i < spec.ports_size(); ++i) {
    const std::string protocol = base::ToLower(spec.ports(i).protocol());
    if (protocol != "http" && protocol != "http2" && protocol != "grpc" && protocol != "tls")
      ((at / "ports")[i] / "protocol").Error("must be HTTP, HTTP2, GRPC or TLS for DYNAMIC_DNS");
  }
  if (spec.location() == ServiceEntry::MESH_INTERNAL &&
      meta.labels.contains("istio.io/use-waypoint"))
    (at / "location").Error("must not be MESH_INTERNAL with a waypoint and DYNAMIC_DNS");
}

void CheckProbePort(uint32_t port, const At& at) { CheckPortNumber(port, at / "port"); }

void CheckProbe(const ReadinessProbe& probe, const At& at) {
  auto not_negative = [&at](int32_t value, const char* field) {
    if (value < 0) (at / field).Error("is below 0");
  };
  not_negative(probe.initial_delay_seconds(), "initialDelaySeconds");
  not_negative(probe.timeout_seconds(), "timeoutSeconds");
  not_negative(probe.period_seconds(), "periodSeconds");
  not_negative(probe.success_threshold(), "successThreshold");
  not_negative(probe.failure_threshold(), "failureThreshold");
  switch (probe.health_check_method_case()) {
    case ReadinessProbe::kHttpGet: {
      const auto& http = probe.http_get();
      CheckProbePort(http.port(), at / "httpGet");
      const std::string scheme = base::ToLower(http.scheme());
      if (!scheme.empty() && scheme != "http" && scheme != "https")
        (at / "httpGet.scheme").Error("must be HTTP or HTTPS");
      for (int i = 0; i < http.http_headers_size(); ++i)
        if (http.http_headers(i).name().empty())
          ((at / "httpGet.httpHeaders")[i] / "name").Error("is missing");
      break;
    }
    case ReadinessProbe::kTcpSocket:
      CheckProbePort(probe.tcp_socket().port(), at / "tcpSocket");
      break;
    case ReadinessProbe::kExec:
      if (probe.exec().command_size() == 0) (at / "exec.command").Error("is empty");
      break;
    case ReadinessProbe::kGrpc:
      CheckProbePort(probe.grpc().port(), at / "grpc");
      break;
    default:
      at.Error("must set httpGet, tcpSocket, exec or grpc");
  }
}

}  // namespace

void CheckWorkloadEntry(const WorkloadEntry& entry, bool dns, const At& at) {
  const std::string& address = entry.address();
  if (address.empty()) {
    if (entry.network().empty())
      (at / "address").Error("is missing; it may be left out only when network is set");
    else
      (at / "address")
          .Warn("is missing: the workload is reached only through gateways of its network");
  } else if (address.starts_with("unix://")) {
    if (!IsUnixPath(address))
      (at / "address").Error(fmt::format("'{}' is not an absolute path", address));
    if (!entry.ports().empty()) (at / "ports").Error("must be empty for a socket");
  } else if (!base::IsIpAddress(address)) {
    if (dns)
      CheckHost(address, false, at / "address");
    else
      (at / "address").Error(fmt::format("'{}' is neither an address nor unix:///path", address));
  }
  for (const auto& [name, number] :
       std::map<std::string, uint32_t>(entry.ports().begin(), entry.ports().end())) {
    CheckPortName(name, at / "ports" / name);
    CheckPortNumber(number, at / "ports" / name);
  }
  CheckLabels(entry.labels(), at / "labels");
}

void CheckSpec(const Meta& meta, const ServiceEntry& spec, const At& at) {
  CheckHosts(spec, at / "hosts");
  CheckAddresses(spec, at / "addresses");
  CheckPorts(meta, spec, at / "ports");
  CheckEndpoints(spec, at / "endpoints");
  CheckDynamicDns(meta, spec, at);
  CheckExportTo(spec.export_to(), meta, at / "exportTo");
  if (spec.has_workload_selector()) {
    if (spec.workload_selector().labels().empty())
      (at / "workloadSelector.labels").Error("is empty");
    CheckLabels(spec.workload_selector().labels(), at / "workloadSelector.labels");
  }
}

void CheckSpec(const Meta&, const WorkloadEntry& spec, const At& at) {
  // A ServiceEntry that selects it may resolve names, so a host name is right here.
  CheckWorkloadEntry(spec, true, at);
}

void CheckSpec(const Meta&, const WorkloadGroup& spec, const At& at) {
  CheckLabels(spec.metadata().labels(), at / "metadata.labels");
  if (!spec.has_template_()) {
    (at / "template").Error("is missing");
  } else {
    for (const auto& [name, number] : spec.template_().ports())
      CheckPortNumber(number, at / "template.ports" / name);
    CheckLabels(spec.template_().labels(), at / "template.labels");
  }
  if (spec.has_probe()) CheckProbe(spec.probe(), at / "probe");
}

}  // namespace isthmus::config::rules
