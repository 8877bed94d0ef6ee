#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kubeapi/json.h"
#include "kubeapi/selector.h"

namespace istio::mesh::v1alpha1 {
class MeshConfig;
}

namespace isthmus::inject {

using kubeapi::Json;

/// What the ConfigMap istio-sidecar-injector says. A value; unknown keys are left alone.
struct InjectorConfig {
  std::string policy = "enabled";  ///< "enabled" or "disabled".
  std::vector<kubeapi::LabelSelector> always;
  std::vector<kubeapi::LabelSelector> never;
  std::map<std::string, std::string> injected_annotations;
  std::vector<std::string> default_templates = {"sidecar"};
  std::map<std::string, std::vector<std::string>> aliases;
  Json values;  ///< The installation's values: global, sidecarInjectorWebhook, revision, pilot,
                ///< gateways.

  /// `config` is the YAML of key "config", `values` the JSON (or YAML) of key "values".
  static base::Result<InjectorConfig> Parse(std::string_view config, std::string_view values);

  /// Values by path with the default the charts have; a value of another type counts as absent,
  /// numbers and booleans read as text.
  std::string Text(std::initializer_list<std::string_view> path,
                   std::string_view fallback = {}) const;
  bool Flag(std::initializer_list<std::string_view> path, bool fallback) const;
  /// "" for the default revision.
  std::string revision() const;
};

/// What injection reads of the mesh configuration. A value.
struct MeshSettings {
  Json default_config = Json::object();  ///< ProxyConfig with defaults filled in, as JSON.
  std::string trust_domain = "cluster.local";
  bool prometheus_merge = true;
  bool inbound_localhost = false;  ///< inboundTrafficPolicy LOCALHOST.

  static MeshSettings From(const istio::mesh::v1alpha1::MeshConfig& mesh);
  /// Istio's own defaults.
  static MeshSettings Default();
};

/// What is not of the pod, the values or the mesh: the webhook's URL and the control plane's
/// settings.
struct Params {
  std::string cluster;  ///< Wins over values.global.multiCluster.clusterName.
  std::string network;
  std::map<std::string, std::string> env;  ///< Further variables of the proxy.
  bool native_sidecars = false;            ///< ENABLE_NATIVE_SIDECARS, worked out for this cluster.

  /// "/inject/cluster/c1/net/n1": pairs after "/inject". Also the old form
  /// "/inject/:ENV:NAME=value".
  static Params FromPath(std::string_view path);
};

/// The built-in defaults of ProxyConfig as JSON; fields equal to them are left out of PROXY_CONFIG.
const Json& ProxyConfigDefaults();
/// The mesh's configuration with the pod's annotation proxy.istio.io/config (YAML or JSON) on top.
base::Result<Json> EffectiveProxyConfig(const Json& mesh_default, std::string_view annotation);

}  // namespace isthmus::inject
