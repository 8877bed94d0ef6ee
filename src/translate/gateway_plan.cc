#include "translate/gateway_plan.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>

#include "istio/networking/v1/gateway.pb.h"
#include "translate/names.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  return text;
}

/// Nothing where the server makes no sense.
std::optional<ServerKind> KindOf(const v1::Server& server) {
  const std::string protocol = Upper(server.port().protocol());
  const bool http = protocol == "HTTP" || protocol == "HTTP2" || protocol == "GRPC" ||
                    protocol == "GRPC-WEB" || protocol == "HTTP_PROXY";
  if (http) return ServerKind::kHttp;
  const bool https = protocol == "HTTPS";
  if (!https && protocol != "TLS") return server.has_tls() ? ServerKind::kTls : ServerKind::kTcp;
  if (!server.has_tls()) return std::nullopt;
  switch (server.tls().mode()) {
    case v1::ServerTLSSettings::PASSTHROUGH:
      return ServerKind::kPassthrough;
    case v1::ServerTLSSettings::AUTO_PASSTHROUGH:
      return ServerKind::kAutoPassthrough;
    default:
      return https ? ServerKind::kHttps : ServerKind::kTls;
  }
}

/// 0: plain HTTP, 1: plain TCP, 2: TLS of any kind. Only equal ones share a socket.
int Family(ServerKind kind) {
  if (kind == ServerKind::kHttp) return 0;
  return kind == ServerKind::kTcp ? 1 : 2;
}

GatewayServer::Host ReadHost(const std::string& text, const std::string& ns) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos) return {"*", text};
  std::string space = text.substr(0, slash);
  return {space == "." ? ns : space, text.substr(slash + 1)};
}

/// The port in the pod behind a port of the gateway's own Service.
int BindPort(const World& world, const ProxyClass& proxy, int number) {
  for (const ServicePtr& service : world.services->InNamespace(proxy.ns)) {
    if (service->selector.empty() || !Selects(service->selector, proxy.labels)) continue;
    for (const model::Port& port : service->ports) {
      if (port.number == number && port.target > 0) return port.target;
    }
  }
  return number;
}

bool NamesTaken(const GatewayServer& server, std::set<std::string>* names) {
  // Rules decide the names of passed-through TLS, and the mesh those of its own.
  if (server.kind == ServerKind::kPassthrough || server.kind == ServerKind::kAutoPassthrough)
    return false;
  std::vector<std::string> wanted = server.ServerNames();
  if (wanted.empty()) wanted = {"*"};
  for (const std::string& name : wanted) {
    if (names->contains(name)) return true;
  }
  names->insert(wanted.begin(), wanted.end());
  return false;
}

}  // namespace

std::string GatewayServer::Admits(const std::string& rules_ns,
                                  const std::string& rules_host) const {
  for (const Host& host : hosts) {
    if (host.ns != "*" && host.ns != rules_ns) continue;
    if (HostCovers(host.name, rules_host)) return rules_host;
    if (HostCovers(rules_host, host.name)) return host.name;
  }
  return "";
}

std::string GatewayServer::HttpsRouteName() const {
  std::string name = "https." + std::to_string(server->port().number()) + "." +
                     server->port().name() + "." + object->meta.name + "." + object->meta.ns;
  if (!server->bind().empty()) name += "." + server->bind();
  return name;
}

std::vector<std::string> GatewayServer::ServerNames() const {
  std::vector<std::string> names;
  for (const Host& host : hosts) {
    if (host.name == "*") return {};
    if (std::find(names.begin(), names.end(), host.name) == names.end()) names.push_back(host.name);
  }
  return names;
}

std::string GatewayPort::HttpRouteName() const {
  return "http." + std::to_string(port) + (bind.empty() ? "" : "." + bind);
}

std::vector<GatewayPort> PlanGateway(const World& world, const ProxyClass& proxy) {
  std::map<std::pair<int, std::string>, GatewayPort> ports;
  std::map<std::pair<int, std::string>, std::set<std::string>> names;
  const auto& objects = world.snapshot->configs.gateways;
  if (objects == nullptr) return {};
  for (const auto& object : *objects) {
    if (!SelectsMap(object->spec.selector(), proxy.labels)) continue;
    for (const v1::Server& server : object->spec.servers()) {
      const std::optional<ServerKind> kind = KindOf(server);
      const int number = static_cast<int>(server.port().number());
      const int port = BindPort(world, proxy, number);
      if (!kind.has_value() || port <= 0 || port > 65535 || server.hosts().empty()) continue;
      if (proxy.unprivileged && port < 1024) continue;
      GatewayServer entry{object, &server, object->meta.ns + "/" + object->meta.name,
                          *kind,  number,  {}};
      for (const std::string& host : server.hosts())
        entry.hosts.push_back(ReadHost(host, object->meta.ns));
      const std::pair<int, std::string> key(port, server.bind());
      GatewayPort& shared = ports[key];
      if (!shared.servers.empty()) {
        const int family = Family(shared.servers.front().kind);
        if (family != Family(*kind) || family == 1) continue;
      }
      if (Family(*kind) == 2 && NamesTaken(entry, &names[key])) continue;
      shared.port = port;
      shared.bind = server.bind();
      shared.servers.push_back(std::move(entry));
    }
  }
  std::vector<GatewayPort> result;
  for (auto& [key, port] : ports) {
    if (!port.servers.empty()) result.push_back(std::move(port));
  }
  return result;
}

bool RoutesBySni(const std::vector<GatewayPort>& ports) {
  for (const GatewayPort& port : ports) {
    for (const GatewayServer& server : port.servers) {
      if (server.kind == ServerKind::kAutoPassthrough) return true;
    }
  }
  return false;
}

}  // namespace isthmus::translate
