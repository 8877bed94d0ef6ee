#pragma once

#include <string>
#include <string_view>

#include "model/type_url.h"

namespace isthmus::translate {

using model::kClusterType;
using model::kEndpointType;
using model::kListenerType;
using model::kMeshTrustType;
using model::kNameTableType;
using model::kRouteType;
using model::kSecretType;

// Clusters that every proxy has, whatever the world holds.
inline constexpr std::string_view kBlackHoleCluster = "BlackHoleCluster";
inline constexpr std::string_view kPassthroughCluster = "PassthroughCluster";
inline constexpr std::string_view kInboundPassthroughCluster = "InboundPassthroughCluster";

/// "outbound|80|v1|host"; the subset may be empty.
std::string OutboundName(int port, std::string_view subset, std::string_view host);
/// "outbound_.80_.v1_.host": the SNI that mesh clients send and the cluster of an east-west
/// gateway.
std::string SniName(int port, std::string_view subset, std::string_view host);
/// "inbound|8080||"
std::string InboundName(int port);

/// Whether `pattern` ("*", "*.suffix" or a name) covers `host`, which may itself be a wildcard.
bool HostCovers(std::string_view pattern, std::string_view host);
/// Whether the two sets of hosts have one in common.
bool HostsOverlap(std::string_view a, std::string_view b);
/// Istio's order of hosts: exact names before wildcards, longer before shorter, then by text.
bool MoreSpecificHost(std::string_view a, std::string_view b);
/// The full name of a host as written in a configuration object of namespace `ns`: names without a
/// dot are Kubernetes services of that namespace.
std::string FullHost(std::string_view host, std::string_view ns, std::string_view domain_suffix);

/// An IPv6 address; anything that is not an IPv4 address and has a colon.
bool IsIpv6(std::string_view address);
/// An IPv4 or IPv6 address rather than a name.
bool IsIpAddress(std::string_view address);

/// Ends the name of a credential's secret that holds only its roots.
inline constexpr std::string_view kCaSuffix = "-cacert";

}  // namespace isthmus::translate
