#include "config/validate.h"

#include <functional>
#include <map>

#include "config/parse.h"
#include "config/rules.h"
#include "istio/extensions/v1alpha1/wasm.pb.h"
#include "istio/networking/v1/envoy_filter.pb.h"
#include "istio/networking/v1/proxy_config.pb.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "istio/networking/v1/sidecar.pb.h"
#include "istio/networking/v1/workload_group.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "istio/security/v1/peer_authentication.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "istio/telemetry/v1/telemetry.pb.h"

namespace isthmus::config {
namespace {

using kubeapi::Json;
using Check = std::function<void(const Meta&, const Json& spec, Validation&)>;

template <typename T>
void ReadAndCheck(const Meta& meta, const Json& spec, Validation& out) {
  T message;
  ReadReport report;
  ReadMessage(spec, "spec", message, report);
  for (const std::string& field : report.unknown)
    out.errors.push_back({field, "is not a field of " + meta.kind});
  // Rules on a message that was read in part would blame fields that the user did set.
  const bool whole = report.errors.empty();
  for (Issue& issue : report.errors) out.errors.push_back(std::move(issue));
  if (whole) rules::CheckSpec(meta, message, rules::At(out, "spec"));
}

const std::map<std::string, Check, std::less<>>& Checks() {
  namespace net = istio::networking::v1;
  namespace sec = istio::security::v1;
  static const auto& checks = *new std::map<std::string, Check, std::less<>>{
      {"VirtualService", ReadAndCheck<net::VirtualService>},
      {"DestinationRule", ReadAndCheck<net::DestinationRule>},
      {"Gateway", ReadAndCheck<net::Gateway>},
      {"ServiceEntry", ReadAndCheck<net::ServiceEntry>},
      {"WorkloadEntry", ReadAndCheck<net::WorkloadEntry>},
      {"WorkloadGroup", ReadAndCheck<net::WorkloadGroup>},
      {"Sidecar", ReadAndCheck<net::Sidecar>},
      {"EnvoyFilter", ReadAndCheck<net::EnvoyFilter>},
      {"ProxyConfig", ReadAndCheck<net::ProxyConfig>},
      {"PeerAuthentication", ReadAndCheck<sec::PeerAuthentication>},
      {"RequestAuthentication", ReadAndCheck<sec::RequestAuthentication>},
      {"AuthorizationPolicy", ReadAndCheck<sec::AuthorizationPolicy>},
      {"Telemetry", ReadAndCheck<istio::telemetry::v1::Telemetry>},
      {"WasmPlugin", ReadAndCheck<istio::extensions::v1alpha1::WasmPlugin>},
  };
  return checks;
}

void CheckTop(const Json& object, Validation& out) {
  for (const auto& [key, value] : object.items())
    if (key != "apiVersion" && key != "kind" && key != "metadata" && key != "spec" &&
        key != "status")
      out.errors.push_back(
          {key, "is not a field of an object; known are apiVersion, kind, metadata, spec, status"});
}

void CheckAnnotations(const Meta& meta, const Json& spec, Validation& out) {
  for (const auto& [key, value] : meta.annotations) {
    const std::string field = "metadata.annotations[" + key + "]";
    if (key == "internal.istio.io/webhook-always-reject") {
      out.errors.push_back({field, "asks for this object to be refused"});
    } else if (key == "internal.istio.io/parents" || key == "internal.istio.io/parent") {
      out.errors.push_back({field, "is for the control plane's own use"});
    } else if (key == "istio.io/dry-run") {
      const std::string action = kubeapi::StringAt(spec, {"action"});
      if (meta.kind != "AuthorizationPolicy" ||
          (action != "" && action != "ALLOW" && action != "DENY"))
        out.errors.push_back(
            {field, "is only for an AuthorizationPolicy whose action is ALLOW or DENY"});
      else if (value != "true" && value != "false")
        out.errors.push_back({field, "must be true or false"});
    }
  }
}

}  // namespace

std::string Validation::text() const {
  std::string text;
  for (const Issue& issue : errors) text += (text.empty() ? "" : "; ") + issue.text();
  return text;
}

Validation Validate(const Kind& kind, const Json& object) {
  Validation out;
  if (!object.is_object()) {
    out.errors.push_back({"", "is not an object"});
    return out;
  }
  CheckTop(object, out);
  auto meta = ReadMeta(object);
  if (!meta.ok()) {
    out.errors.push_back({"metadata.name", "is missing"});
    return out;
  }
  static const Json kNone = Json::object();
  const Json* spec = kubeapi::Find(object, {"spec"});
  if (spec == nullptr || spec->is_null()) spec = &kNone;
  CheckAnnotations(*meta, *spec, out);
  Checks().at(kind.kind)(*meta, *spec, out);
  return out;
}

Validation Validate(const Json& object) {
  const std::string api_version = kubeapi::StringAt(object, {"apiVersion"});
  const std::string kind = kubeapi::StringAt(object, {"kind"});
  const Kind* row = FindKind(api_version.substr(0, api_version.find('/')), kind);
  if (row != nullptr) return Validate(*row, object);
  Validation out;
  out.errors.push_back(
      {"kind", "\"" + api_version + " " + kind + "\" is not a kind of Istio's API"});
  return out;
}

}  // namespace isthmus::config
