#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "inject/config.h"
#include "kubeapi/json.h"

namespace isthmus::inject {

inline constexpr std::string_view kProxyName = "istio-proxy";
inline constexpr std::string_view kInitName = "istio-init";
inline constexpr std::string_view kValidationName = "istio-validation";
inline constexpr std::string_view kStatusAnnotation = "sidecar.istio.io/status";
inline constexpr std::string_view kOverridesAnnotation = "proxy.istio.io/overrides";
inline constexpr std::string_view kNetworkLabel = "topology.istio.io/network";

/// What a pod belongs to, worked out from its owner as far as its names tell: the pod of a
/// ReplicaSet of a Deployment belongs to the Deployment.
struct Owner {
  std::string name;
  std::string kind;         ///< "Deployment"
  std::string api_version;  ///< "apps/v1"
};
Owner OwnerOf(const Json& pod);

/// One pod on its way through injection: what the templates need to know. Borrows everything; lives
/// for one call.
struct Job {
  const Json& pod;  ///< As the user gave it.
  const std::string& ns;
  const InjectorConfig& config;
  const MeshSettings& mesh;
  const Params& params;
  Json proxy_config;  ///< Effective.
  Owner owner;
  std::string cluster;  ///< Empty when nobody says.
  std::string network;
  bool native = false;
  /// What an earlier injection told the agent about the application; empty on the first.
  std::string recorded_probes;      ///< ISTIO_KUBE_APP_PROBERS
  std::string recorded_prometheus;  ///< ISTIO_PROMETHEUS_ANNOTATIONS

  std::string Annotation(std::string_view name, std::string_view fallback = {}) const;
  std::string ProxyText(std::string_view field) const;  ///< A field of the ProxyConfig as text.
  int64_t status_port() const;
  std::string interception_mode() const;  ///< REDIRECT, TPROXY or NONE.
  bool hold_application() const;
};

/// The container of that name in a list of the pod's spec ("containers", "initContainers"), or
/// null.
Json* FindContainer(Json& pod, std::string_view list, std::string_view name);
const Json* FindContainer(const Json& pod, std::string_view list, std::string_view name);
/// The literal value of a container's variable; empty when absent.
std::string GetEnv(const Json& container, std::string_view name);
/// Sets a variable of a container, replacing one of that name.
void SetEnv(Json& container, std::string_view name, std::string_view value);
/// The proxy's container wherever it is, or null.
Json* FindProxy(Json& pod);

}  // namespace isthmus::inject
