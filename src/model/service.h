#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "model/ids.h"

namespace isthmus::model {

using Labels = std::map<std::string, std::string>;

/// How Envoy treats a port. kAuto: detected from the first bytes.
enum class Protocol {
  kAuto,
  kTcp,
  kUdp,
  kHttp,
  kHttp2,
  kGrpc,
  kGrpcWeb,
  kHttps,
  kTls,
  kMongo,
  kRedis,
  kMysql
};
bool IsHttp(Protocol protocol);   ///< kHttp, kHttp2, kGrpc, kGrpcWeb.
bool IsHttp2(Protocol protocol);  ///< kHttp2, kGrpc, kGrpcWeb.
/// The protocol of a name such as "HTTP2" or "tls", in any case; nothing when it is not known.
std::optional<Protocol> ProtocolFromName(const std::string& name);
/// "HTTP", "HTTP2", "TCP"...; "UnsupportedProtocol" for kAuto, as Istio prints it.
std::string_view ProtocolName(Protocol protocol);
/// Istio's rules: appProtocol, then the port name's prefix, then well-known numbers.
Protocol ParseProtocol(bool udp, const std::string& app_protocol, const std::string& port_name,
                       int number);

struct Port {
  std::string name;
  int number = 0;
  /// Numeric target port; 0 when it is a name that differs between pods.
  int target = 0;
  int node_port = 0;
  Protocol protocol = Protocol::kAuto;
  bool operator==(const Port&) const = default;
};

/// How the addresses of a service are found.
enum class Resolution {
  kEndpoints,      ///< EDS: Kubernetes ClusterIP, ServiceEntry STATIC or with a workload selector.
  kDns,            ///< ServiceEntry DNS.
  kDnsRoundRobin,  ///< ServiceEntry DNS_ROUND_ROBIN.
  kDynamicDns,     ///< ServiceEntry DYNAMIC_DNS: wildcard host.
  kPassthrough,    ///< Headless, or ServiceEntry NONE: the address that the caller dialled.
  kAlias,          ///< ExternalName: another name for `alias_of`.
};

/// Who may see an object, by namespace. Empty set and !all means nobody but ("." included) `own`.
struct Visibility {
  bool all = true;
  std::set<std::string> namespaces;  ///< "." already expanded to the object's namespace.
  bool VisibleIn(const std::string& ns) const { return all || namespaces.contains(ns); }
  bool operator==(const Visibility&) const = default;
};

/// One host of the mesh, merged over all clusters. A value, shared frozen.
struct Service {
  std::string hostname;  ///< "helloworld.sample.svc.cluster.local"
  std::string name;      ///< "helloworld"; empty for hosts that are no Kubernetes service.
  std::string ns;
  base::Time created;
  std::vector<Port> ports;
  Resolution resolution = Resolution::kEndpoints;
  /// The address for proxies of clusters that have none of their own; "0.0.0.0" for headless, else
  /// may be empty.
  std::string default_address;
  std::map<ClusterId, std::vector<std::string>> cluster_vips;
  std::string auto_address;  ///< Allocated for hosts without one, used with DNS capture.
  Labels labels;
  Labels selector;
  Visibility export_to;
  std::vector<std::string>
      subject_alt_names;  ///< From annotations or the ServiceEntry, besides the endpoints' own.
  std::string alias_of;
  bool external = false;    ///< MESH_EXTERNAL.
  bool kubernetes = true;   ///< Comes from a Kubernetes Service.
  bool node_local = false;  ///< internalTrafficPolicy: Local.
  bool publish_not_ready = false;
  bool cluster_local = false;  ///< Endpoints of other clusters are not shown.
  bool headless = false;
  std::string traffic_distribution;  ///< "", "PreferSameZone", "PreferSameNode".
  std::string kubernetes_type;       ///< "ClusterIP", "LoadBalancer", ...; for debug output.
  std::map<ClusterId, std::vector<std::string>> external_addresses;
  bool operator==(const Service&) const = default;

  const Port* FindPort(int number) const;
  /// The address that proxies of `cluster` dial; empty when there is none.
  std::string AddressFor(const ClusterId& cluster, bool dns_capture) const;
};

enum class Health { kHealthy, kUnhealthy, kDraining, kTerminating };

/// Why an endpoint is as it is; printed by explain, /debug and the console. Never read by
/// translation.
struct Provenance {
  std::string source;  ///< "EndpointSlice cluster2 sample/helloworld-x7f2k"
  std::string
      network_source;  ///< "pod label", "namespace label", "meshNetworks fromRegistry", "none"
  bool operator==(const Provenance&) const = default;
};

/// One address that serves one port of a service.
struct Endpoint {
  std::string
      address;  ///< IP, host name (DNS resolution) or "unix:///path"; empty: only through gateways.
  uint16_t port = 0;
  std::string port_name;  ///< Service port name; matched to Port::name.
  NetworkId network;
  ClusterId cluster;
  Locality locality;
  std::shared_ptr<const Labels> labels;  ///< Of the workload itself. Never null.
  /// Region, zone, subzone, node, cluster and network as labels; shared by all endpoints of a node.
  /// May be null.
  std::shared_ptr<const Labels> topology;
  std::string ns;
  std::string service_account;  ///< SPIFFE URI; empty when unknown.
  bool mtls = false;            ///< security.istio.io/tlsMode is "istio".
  uint32_t weight = 1;
  Health health = Health::kHealthy;
  std::string node;
  std::string workload;  ///< Name of the deployment or pod, for telemetry.
  std::string hostname;  ///< Pod host name of stateful sets.
  std::shared_ptr<const Provenance> provenance;

  /// A label as subsets and failover priorities see it: of the topology, else of the workload; null
  /// when absent.
  const std::string* FindLabel(const std::string& key) const;
  /// Both in one map, for printing.
  Labels AllLabels() const;
};
bool operator==(const Endpoint& a, const Endpoint& b);

/// All endpoints of one host, grouped by where they were learnt. Frozen; replaced when one changes.
struct ServiceEndpoints {
  struct Shard {
    std::string provider;  ///< "Kubernetes" or "External".
    ClusterId cluster;
    std::vector<Endpoint> endpoints;  ///< Sorted by address, then port.
  };
  std::vector<std::shared_ptr<const Shard>> shards;  ///< Sorted by provider, then cluster.
  std::set<std::string> service_accounts;            ///< SPIFFE URIs of all endpoints.
};

}  // namespace isthmus::model
