#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "translate/mesh_settings.h"

namespace envoy::config::listener::v3 {
class Filter;
class FilterChain;
class Listener;
}  // namespace envoy::config::listener::v3

namespace isthmus::translate {

/// Where a stream of bytes goes: one cluster, or several by weight.
struct TcpTarget {
  std::string stat_prefix;
  std::vector<std::pair<std::string, uint32_t>> clusters;  ///< Never empty.
  bool hash_source_ip = false;
  /// Cluster and statistics of one name.
  static TcpTarget To(std::string_view cluster) {
    return {std::string(cluster), {{std::string(cluster), 1}}, false};
  }
};

void WriteTcpProxy(const MeshSettings& mesh, const TcpTarget& target,
                   envoy::config::listener::v3::Filter* filter);

/// Which side of the mesh a connection manager stands on.
enum class HttpSide { kOutbound, kInbound, kGateway };

/// What distinguishes one HTTP connection manager from another of its side.
struct HttpManager {
  HttpSide side = HttpSide::kOutbound;
  std::string stat_prefix;
  std::string route_name;    ///< Asked for on the stream; empty when the route is inline.
  std::string inline_route;  ///< A serialised RouteConfiguration.
  bool http2_port = false;
  bool http10 = false;
  bool grpc_web = false;
  /// Serialised HttpFilters that decide who may call; they come before all others.
  std::vector<std::string> authorization;
};
void WriteHttpManager(const MeshSettings& mesh, const HttpManager& manager,
                      envoy::config::listener::v3::Filter* filter);

/// The mesh's access log of connections that found no filter chain.
void WriteListenerLog(const MeshSettings& mesh, envoy::config::listener::v3::Listener* listener);
void AddTlsInspector(envoy::config::listener::v3::Listener* listener);
void AddHttpInspector(envoy::config::listener::v3::Listener* listener);
/// The listener's address: `bind`:`port`, with the IPv6 wildcard beside the IPv4 one on dual
/// stacks.
void WriteAddress(const std::string& bind, int port, bool dual,
                  envoy::config::listener::v3::Listener* listener);

}  // namespace isthmus::translate
