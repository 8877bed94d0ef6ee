#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "translate/class_inputs.h"

namespace istio::networking::v1 {
class Server;
}

namespace isthmus::translate {

enum class ServerKind {
  kHttp,             ///< Plain HTTP.
  kHttps,            ///< HTTP after TLS that ends here.
  kTcp,              ///< Plain bytes.
  kTls,              ///< Bytes after TLS that ends here.
  kPassthrough,      ///< TLS that goes on, routed by the rules for its SNI.
  kAutoPassthrough,  ///< TLS of the mesh, routed by the service that its SNI names.
};

/// One server of a Gateway object that this proxy serves.
struct GatewayServer {
  using Object = config::Object<istio::networking::v1::Gateway>;
  struct Host {
    std::string ns;  ///< Only rules of this namespace; "*" for any.
    std::string name;
  };
  std::shared_ptr<const Object> object;
  const istio::networking::v1::Server* server = nullptr;  ///< Within `object`.
  std::string gateway;                                    ///< "namespace/name"
  ServerKind kind = ServerKind::kHttp;
  int number = 0;  ///< The port as the Gateway names it.
  std::vector<Host> hosts;

  /// Whether rules of a namespace may attach for a host, and the narrower of the two hosts if so;
  /// else empty.
  std::string Admits(const std::string& rules_ns, const std::string& rules_host) const;
  /// The route configuration of a server with kHttps.
  std::string HttpsRouteName() const;
  /// "server_names" of its chains; empty for any.
  std::vector<std::string> ServerNames() const;
};

/// All servers that share a socket. Either all plain HTTP, or one plain TCP, or all with TLS.
struct GatewayPort {
  std::string bind;  ///< Empty: all addresses.
  int port = 0;      ///< In the pod.
  std::vector<GatewayServer> servers;
  std::string HttpRouteName() const;
};
/// Ascending by port, then address. Servers that contradict earlier ones are left out.
std::vector<GatewayPort> PlanGateway(const World& world, const ProxyClass& proxy);

/// Whether some server routes mesh traffic by SNI, so that the proxy needs the clusters for it.
bool RoutesBySni(const std::vector<GatewayPort>& ports);

Resources BuildGatewayListeners(const ClassInputs& inputs, const std::vector<GatewayPort>& ports);
Resources BuildGatewayRoutes(const ClassInputs& inputs, const std::vector<GatewayPort>& ports);

}  // namespace isthmus::translate
