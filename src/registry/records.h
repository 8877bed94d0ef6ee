#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/object.h"
#include "kubeapi/json.h"
#include "model/service.h"
#include "model/snapshot.h"
#include "registry/intern.h"

namespace istio::networking::v1 {
class WorkloadEntry;
}

namespace isthmus::registry {

// What is kept of Kubernetes objects: only what the mesh needs, never the JSON. Values. Each is
// read without trust in its shape: what has the wrong type counts as absent.

using kubeapi::Json;
using LabelsPtr = std::shared_ptr<const model::Labels>;

/// The labels that decide about networks, localities and TLS.
inline constexpr char kNetworkLabel[] = "topology.istio.io/network";
inline constexpr char kClusterLabel[] = "topology.istio.io/cluster";
inline constexpr char kTlsModeLabel[] = "security.istio.io/tlsMode";
inline constexpr char kRegionLabel[] = "topology.kubernetes.io/region";
inline constexpr char kZoneLabel[] = "topology.kubernetes.io/zone";
inline constexpr char kSubzoneLabel[] = "topology.istio.io/subzone";
inline constexpr char kHostnameLabel[] = "kubernetes.io/hostname";

/// Of the system namespace of a cluster without a control plane: the clusters whose control planes
/// lead it; "*" is any.
inline constexpr char kLeadersAnnotation[] = "topology.istio.io/controlPlaneClusters";
/// Whether a cluster is among those that the annotation names.
bool IsLeader(const std::vector<std::string>& leaders, std::string_view cluster);

/// Who manages the slices with what stands by for the endpoints of a Service; see
/// controlplane::Standby.
inline constexpr char kStandbyManager[] = "standby.isthmus.dev";
inline constexpr char kManagedByLabel[] = "endpointslice.kubernetes.io/managed-by";

struct NamespaceRecord {
  LabelsPtr labels;
  std::string traffic_distribution;  ///< As annotated.
  std::string leaders;               ///< As annotated.
};

struct NodeRecord {
  model::Locality locality;
  std::string external_ip;
  LabelsPtr labels;
};

struct PodRecord {
  std::vector<std::string> addresses;
  LabelsPtr labels;
  std::string service_account;  ///< "default" when unset.
  std::string node;
  std::string workload;  ///< The deployment's or other owner's name, or the pod's own.
  std::shared_ptr<const std::map<std::string, int>> container_ports;
  bool ready = false;  ///< Matters only where a ServiceEntry selects the pod itself.
};

struct ServiceRecord {
  /// As this cluster has it: VIPs of this cluster only, exportTo and defaults of the mesh not yet
  /// applied.
  std::shared_ptr<const model::Service> service;
  std::vector<std::string> export_to;
  std::vector<std::string> kubernetes_accounts;  ///< Names; URIs once the trust domain is known.
  std::map<int, std::string> target_names;       ///< Named target ports by port number.
  /// For gateways of networks: IPs and host names of the load balancer, and externalIPs.
  std::vector<std::string> load_balancer;
  /// traffic.istio.io/nodeSelector on a NodePort service; {} picks all nodes.
  std::optional<model::Labels> node_selector;
};

struct SliceEndpoint {
  std::string address;
  std::string pod_ns;
  std::string pod;  ///< Name in targetRef; empty when the endpoint is no pod.
  std::string node;
  std::string hostname;
  bool ready = true;
  bool serving = true;
  bool terminating = false;
};

struct SliceRecord {
  std::string service;   ///< Name, in the slice's own namespace.
  bool standby = false;  ///< Managed by kStandbyManager.
  std::vector<SliceEndpoint> endpoints;
  std::vector<std::pair<std::string, uint16_t>> ports;
};

using WorkloadEntryRecord =
    std::shared_ptr<const config::Object<istio::networking::v1::WorkloadEntry>>;

NamespaceRecord ReadNamespace(const Json& object, LabelPool& pool);
NodeRecord ReadNode(const Json& object, LabelPool& pool);
/// Nothing for pods that have ended.
std::optional<PodRecord> ReadPod(const Json& object, LabelPool& pool);
ServiceRecord ReadService(const Json& object, const model::ClusterId& cluster,
                          const std::string& domain_suffix);
/// Nothing for slices of host names, of no service, and of the MCS API.
std::optional<SliceRecord> ReadSlice(const Json& object);
/// Nothing for Secrets that hold no certificate.
std::optional<model::Credential> ReadCredential(const Json& object);

/// "PreferSameZone", "PreferSameNode" or "" for any spelling that Istio knows or does not.
std::string TrafficDistribution(const std::string& text);

std::string HostnameOf(const std::string& name, const std::string& ns,
                       const std::string& domain_suffix);

}  // namespace isthmus::registry
