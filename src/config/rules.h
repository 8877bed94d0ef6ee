#pragma once

#include <google/protobuf/map.h>
#include <google/protobuf/repeated_field.h>

#include <string>
#include <string_view>
#include <utility>

#include "config/object.h"
#include "config/validate.h"

namespace google::protobuf {
class Duration;
}
namespace istio::networking::v1 {
class ClientTLSSettings;
class ConnectionPoolSettings;
class DestinationRule;
class EnvoyFilter;
class Gateway;
class LocalityLoadBalancerSetting;
class OutlierDetection;
class ProxyConfig;
class ServerTLSSettings;
class ServiceEntry;
class Sidecar;
class VirtualService;
class WorkloadEntry;
class WorkloadGroup;
}  // namespace istio::networking::v1
namespace istio::security::v1 {
class AuthorizationPolicy;
class PeerAuthentication;
class RequestAuthentication;
}  // namespace istio::security::v1
namespace istio::telemetry::v1 {
class Telemetry;
}
namespace istio::extensions::v1alpha1 {
class WasmPlugin;
}

/// The rules of validate.h, one file a kind; for src/config only.
namespace isthmus::config::rules {

/// One field and where its issues go. A value; made anew for each step down.
class At {
 public:
  At(Validation& out, std::string path) : out_(&out), path_(std::move(path)) {}
  At operator/(std::string_view field) const {
    return At(*out_, path_.empty() ? std::string(field) : fmt::format("{}.{}", path_, field));
  }
  At operator[](int index) const { return At(*out_, fmt::format("{}[{}]", path_, index)); }
  void Error(std::string reason) const { out_->errors.push_back({path_, std::move(reason)}); }
  void Warn(std::string reason) const { out_->warnings.push_back({path_, std::move(reason)}); }

 private:
  Validation* out_;
  std::string path_;
};

using Strings = google::protobuf::RepeatedPtrField<std::string>;
using StringMap = google::protobuf::Map<std::string, std::string>;

// ---- Rules that many kinds share.

bool IsDnsLabel(std::string_view text);
/// A whole host name; `wildcard` lets "*" and "*.x" through.
void CheckHost(std::string_view host, bool wildcard, const At& at);
/// The same, and with a dot in it.
void CheckFullHost(std::string_view host, bool wildcard, const At& at);
void CheckPortNumber(uint32_t number, const At& at);
void CheckPortName(const std::string& name, const At& at);
void CheckProtocol(const std::string& protocol, const At& at);
/// At least one millisecond, and no finer than that.
void CheckDuration(const google::protobuf::Duration& duration, const At& at);
void CheckPercent(double percent, const At& at);
void CheckRegex(const std::string& regex, const At& at);
void CheckLabels(const StringMap& labels, const At& at);
void CheckExportTo(const Strings& values, const Meta& meta, const At& at);
/// "10.0.0.1" or "10.0.0.0/8".
bool IsAddressOrRange(std::string_view text);
bool IsUnixPath(std::string_view text);
bool IsHttpOrTls(std::string_view protocol);

/// Selector, targetRef and targetRefs of policies; T is any of them. `At` is that of the spec.
void CheckPolicySelector(const StringMap* selector, const At& at);
template <typename Target>
void CheckTarget(const Target& target, const At& at) {
  if (target.name().empty()) (at / "name").Error("is missing");
  if (!target.namespace_().empty())
    (at / "namespace").Error("must not be set: the target is in the own namespace");
  const std::string kind = target.group() + "/" + target.kind();
  if (kind != "gateway.networking.k8s.io/Gateway" &&
      kind != "gateway.networking.k8s.io/GatewayClass" && kind != "/Service" &&
      kind != "core/Service" && kind != "networking.istio.io/ServiceEntry")
    (at / "kind").Error("must be Service, ServiceEntry, Gateway or GatewayClass, with its group");
}
template <typename T>
void CheckAttachment(const T& spec, const At& at) {
  const int ways = spec.has_selector() + spec.has_target_ref() + (spec.target_refs_size() > 0);
  if (ways > 1) at.Error("has more than one of selector, targetRef and targetRefs");
  CheckPolicySelector(spec.has_selector() ? &spec.selector().match_labels() : nullptr,
                      at / "selector");
  if (spec.has_target_ref()) CheckTarget(spec.target_ref(), at / "targetRef");
  for (int i = 0; i < spec.target_refs_size(); ++i)
    CheckTarget(spec.target_refs(i), (at / "targetRefs")[i]);
}

void CheckTrafficPolicyTls(const istio::networking::v1::ClientTLSSettings& tls, const At& at);
void CheckConnectionPool(const istio::networking::v1::ConnectionPoolSettings& pool, const At& at);
void CheckLocality(const istio::networking::v1::LocalityLoadBalancerSetting& locality,
                   bool outliers, const At& at);
void CheckWorkloadEntry(const istio::networking::v1::WorkloadEntry& entry, bool dns, const At& at);
void CheckServerTls(const istio::networking::v1::ServerTLSSettings& tls, const At& at);

// ---- One for each kind.

void CheckSpec(const Meta& meta, const istio::networking::v1::VirtualService& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::networking::v1::DestinationRule& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::networking::v1::Gateway& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::networking::v1::ServiceEntry& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::networking::v1::WorkloadEntry& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::networking::v1::WorkloadGroup& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::networking::v1::Sidecar& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::networking::v1::EnvoyFilter& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::networking::v1::ProxyConfig& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::security::v1::PeerAuthentication& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::security::v1::RequestAuthentication& spec,
               const At& at);
void CheckSpec(const Meta& meta, const istio::security::v1::AuthorizationPolicy& spec,
               const At& at);
void CheckSpec(const Meta& meta, const istio::telemetry::v1::Telemetry& spec, const At& at);
void CheckSpec(const Meta& meta, const istio::extensions::v1alpha1::WasmPlugin& spec, const At& at);

}  // namespace isthmus::config::rules
