#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "config/object.h"
#include "model/ids.h"
#include "model/network.h"
#include "model/service.h"
#include "model/workload.h"

namespace istio::mesh::v1alpha1 {
class MeshConfig;
class MeshNetworks;
}  // namespace istio::mesh::v1alpha1
namespace istio::networking::v1 {
class VirtualService;
class DestinationRule;
class Gateway;
class ServiceEntry;
class Sidecar;
class EnvoyFilter;
}  // namespace istio::networking::v1
namespace istio::security::v1 {
class PeerAuthentication;
class RequestAuthentication;
class AuthorizationPolicy;
}  // namespace istio::security::v1
namespace istio::telemetry::v1 {
class Telemetry;
}

namespace isthmus::model {

/// The configuration objects of the config cluster. Each list is replaced when one of it changes.
/// Never null.
struct Configs {
  template <typename T>
  using List = std::shared_ptr<const config::ObjectList<T>>;
  List<istio::networking::v1::VirtualService> virtual_services;
  List<istio::networking::v1::DestinationRule> destination_rules;
  List<istio::networking::v1::Gateway> gateways;
  List<istio::networking::v1::ServiceEntry> service_entries;
  List<istio::networking::v1::Sidecar> sidecars;
  List<istio::networking::v1::EnvoyFilter> envoy_filters;
  List<istio::security::v1::PeerAuthentication> peer_authentications;
  List<istio::security::v1::RequestAuthentication> request_authentications;
  List<istio::security::v1::AuthorizationPolicy> authorization_policies;
  List<istio::telemetry::v1::Telemetry> telemetries;
};

/// A TLS credential of a gateway, from a Secret.
struct Credential {
  std::string certificate_pem;
  std::string key_pem;
  std::string ca_pem;
  bool operator==(const Credential&) const = default;
};

/// Everything that translation may read, at one version. Immutable once published; copying shares
/// all parts.
struct Snapshot {
  uint64_t version = 0;
  ClusterId config_cluster;
  std::string domain_suffix = "cluster.local";
  std::string root_namespace = "istio-system";
  std::shared_ptr<const istio::mesh::v1alpha1::MeshConfig>
      mesh;  ///< With defaults filled in. Never null.
  std::shared_ptr<const istio::mesh::v1alpha1::MeshNetworks> networks;

  /// By hostname. Several hosts of one name (ServiceEntries of several namespaces) are one entry
  /// each.
  using ServiceMap =
      std::map<std::string, std::vector<std::shared_ptr<const Service>>, std::less<>>;
  std::shared_ptr<const ServiceMap> services;
  /// Keyed by "<hostname>/<namespace>".
  using EndpointMap = std::map<std::string, std::shared_ptr<const ServiceEndpoints>, std::less<>>;
  std::shared_ptr<const EndpointMap> endpoints;
  std::shared_ptr<const GatewayIndex> gateways;  ///< Host names resolved or dropped; for EDS.
  std::shared_ptr<const GatewayIndex> unresolved_gateways;  ///< For DNS clusters.
  WorkloadIndex workloads;
  Configs configs;
  /// Keyed "<cluster>/<namespace>/<name>".
  std::shared_ptr<const std::map<std::string, Credential>> credentials;
};

/// What differs between a snapshot and the one before it; translation redoes only what this
/// touches. `everything` stands for a difference that is not worth telling apart (mesh config,
/// networks, first snapshot).
struct ChangeSet {
  bool everything = false;
  bool gateways = false;  ///< Network gateways: every load assignment may change.
  std::set<std::string>
      services;  ///< Hostnames whose Service changed, came or went, or whose accounts did.
  std::set<std::string> endpoints;     ///< "<hostname>/<namespace>" whose endpoints changed.
  std::set<std::string> config_kinds;  ///< "VirtualService", ...
  std::set<std::string> configs;       ///< "VirtualService/<ns>/<name>"
  std::set<std::string>
      workloads;  ///< "<cluster>/<ns>/<name>" whose labels, addresses or locality changed.
  std::set<std::string> credentials;  ///< Keys of Snapshot::credentials.
  bool empty() const;
  void Merge(const ChangeSet& later);
};

}  // namespace isthmus::model
