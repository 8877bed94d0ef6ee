#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "config/object.h"
#include "config/validate.h"

namespace google::protobuf {
class Duration;
}
namespace istio::type::v1beta1 {
class WorkloadSelector;
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

/// Kinds without rules beyond their shape.
template <typename T>
void CheckSpec(const Meta&, const T&, const At&) {}

}  // namespace isthmus::config::rules
