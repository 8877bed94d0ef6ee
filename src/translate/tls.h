#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "translate/mesh_settings.h"

namespace envoy::config::core::v3 {
class ConfigSource;
class TransportSocket;
}  // namespace envoy::config::core::v3
namespace istio::networking::v1 {
class ClientTLSSettings;
class Server;
}  // namespace istio::networking::v1

namespace isthmus::translate {

/// The application protocols that a client offers to a port, chosen so that stock Envoys pick the
/// right filter chain without a filter that rewrites them.
enum class Alpn { kTcp, kHttp, kHttp2 };

/// Mutual TLS with the workload's own certificate, towards servers that carry one of `sans` (any
/// when empty).
void WriteUpstreamMtls(const std::string& sni, const std::vector<std::string>& sans, Alpn alpn,
                       envoy::config::core::v3::TransportSocket* socket);
/// TLS that a DestinationRule originates: SIMPLE or MUTUAL. `sans` are those of the service.
void WriteUpstreamTls(const istio::networking::v1::ClientTLSSettings& settings,
                      const std::vector<std::string>& sans, bool http2,
                      envoy::config::core::v3::TransportSocket* socket);
void WriteRawBuffer(envoy::config::core::v3::TransportSocket* socket);

/// Mutual TLS of an inbound chain: clients of the mesh's trust domains only.
void WriteDownstreamMtls(const MeshSettings& mesh, bool http,
                         envoy::config::core::v3::TransportSocket* socket);
/// TLS of a gateway server (SIMPLE, MUTUAL, OPTIONAL_MUTUAL, ISTIO_MUTUAL).
void WriteGatewayTls(const MeshSettings& mesh, const istio::networking::v1::Server& server,
                     bool http, envoy::config::core::v3::TransportSocket* socket);

/// Resources come on the stream that the proxy already has; nothing waits in vain for a first
/// answer.
void WriteAdsSource(envoy::config::core::v3::ConfigSource* source);

}  // namespace isthmus::translate
