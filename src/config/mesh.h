#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace istio::mesh::v1alpha1 {
class MeshConfig;
class MeshNetworks;
class ProxyConfig;
}  // namespace istio::mesh::v1alpha1

namespace isthmus::config {

using MeshConfigPtr = std::shared_ptr<const istio::mesh::v1alpha1::MeshConfig>;
using MeshNetworksPtr = std::shared_ptr<const istio::mesh::v1alpha1::MeshNetworks>;

/// What holds where the user says nothing.
MeshConfigPtr DefaultMeshConfig(const std::string& root_namespace = "istio-system");

/// The defaults with the user's YAML (key "mesh" of ConfigMap "istio") laid on top: fields
/// override, defaultConfig is merged field by field, extension providers are merged by name.
/// Unknown fields are skipped and told.
base::Result<MeshConfigPtr> ReadMeshConfig(std::string_view yaml,
                                           const std::string& root_namespace = "istio-system",
                                           std::vector<std::string>* unknown = nullptr);

/// Lays the YAML of a proxy config (annotation proxy.istio.io/config) on top of `proxy`.
base::Status MergeProxyConfig(std::string_view yaml, istio::mesh::v1alpha1::ProxyConfig& proxy);

/// Key "meshNetworks" of ConfigMap "istio", or values of any age: with or without the wrapping
/// "networks" or "meshNetworks". Gateways whose address is the placeholder 0.0.0.0 are left out:
/// they stand for "not known yet".
base::Result<MeshNetworksPtr> ReadMeshNetworks(std::string_view yaml);

}  // namespace isthmus::config
