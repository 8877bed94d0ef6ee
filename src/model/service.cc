#include "model/service.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string_view>

namespace isthmus::model {
namespace {

struct NamedProtocol {
  std::string_view name;
  Protocol protocol;
};
constexpr std::array<NamedProtocol, 12> kNames = {{
    {"tcp", Protocol::kTcp},
    {"udp", Protocol::kUdp},
    {"http", Protocol::kHttp},
    {"http2", Protocol::kHttp2},
    {"grpc", Protocol::kGrpc},
    {"grpc-web", Protocol::kGrpcWeb},
    {"https", Protocol::kHttps},
    {"tls", Protocol::kTls},
    {"mongo", Protocol::kMongo},
    {"redis", Protocol::kRedis},
    {"mysql", Protocol::kMysql},
    {"http_proxy", Protocol::kHttp},
}};

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool SameLabels(const std::shared_ptr<const Labels>& a, const std::shared_ptr<const Labels>& b) {
  return a == b || (a && b && *a == *b);
}

bool SameProvenance(const std::shared_ptr<const Provenance>& a,
                    const std::shared_ptr<const Provenance>& b) {
  return a == b || (a && b && *a == *b);
}

}  // namespace

std::optional<Protocol> ProtocolFromName(const std::string& name) {
  const std::string lower = Lower(name);
  for (const NamedProtocol& entry : kNames)
    if (entry.name == lower) return entry.protocol;
  return std::nullopt;
}

std::string_view ProtocolName(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return "TCP";
    case Protocol::kUdp:
      return "UDP";
    case Protocol::kHttp:
      return "HTTP";
    case Protocol::kHttp2:
      return "HTTP2";
    case Protocol::kGrpc:
      return "GRPC";
    case Protocol::kGrpcWeb:
      return "GRPC-Web";
    case Protocol::kHttps:
      return "HTTPS";
    case Protocol::kTls:
      return "TLS";
    case Protocol::kMongo:
      return "Mongo";
    case Protocol::kRedis:
      return "Redis";
    case Protocol::kMysql:
      return "MySQL";
    case Protocol::kAuto:
      break;
  }
  return "UnsupportedProtocol";
}

bool IsHttp(Protocol protocol) { return protocol == Protocol::kHttp || IsHttp2(protocol); }

bool IsHttp2(Protocol protocol) {
  return protocol == Protocol::kHttp2 || protocol == Protocol::kGrpc ||
         protocol == Protocol::kGrpcWeb;
}

Protocol ParseProtocol(bool udp, const std::string& app_protocol, const std::string& port_name,
                       int number) {
  if (udp) return Protocol::kUdp;
  if (!app_protocol.empty()) {
    const std::string lower = Lower(app_protocol);
    if (lower == "kubernetes.io/h2c") return Protocol::kHttp2;
    if (lower == "kubernetes.io/ws") return Protocol::kHttp;
    if (lower == "kubernetes.io/wss") return Protocol::kHttps;
    if (auto known = ProtocolFromName(lower)) return *known;
  }
  const std::string lower = Lower(port_name);
  if (lower == "grpc-web" || lower.starts_with("grpc-web-")) return Protocol::kGrpcWeb;
  if (auto known = ProtocolFromName(lower.substr(0, lower.find('-')))) return *known;
  // Protocols whose server speaks first: waiting for the client's first bytes would hang them.
  if (number == 25 || number == 53 || number == 3306 || number == 27017) return Protocol::kTcp;
  return Protocol::kAuto;
}

const Port* Service::FindPort(int number) const {
  for (const Port& port : ports)
    if (port.number == number) return &port;
  return nullptr;
}

std::string Service::AddressFor(const ClusterId& cluster, bool dns_capture) const {
  auto own = cluster_vips.find(cluster);
  if (own != cluster_vips.end() && !own->second.empty()) return own->second.front();
  if (dns_capture && !auto_address.empty()) return auto_address;
  return default_address;
}

const std::string* Endpoint::FindLabel(const std::string& key) const {
  for (const auto* map : {topology.get(), labels.get()}) {
    if (map == nullptr) continue;
    if (auto found = map->find(key); found != map->end()) return &found->second;
  }
  return nullptr;
}

Labels Endpoint::AllLabels() const {
  Labels all = topology ? *topology : Labels();
  if (labels) all.insert(labels->begin(), labels->end());
  return all;
}

bool operator==(const Endpoint& a, const Endpoint& b) {
  return a.address == b.address && a.port == b.port && a.port_name == b.port_name &&
         a.network == b.network && a.cluster == b.cluster && a.locality == b.locality &&
         a.ns == b.ns && a.service_account == b.service_account && a.mtls == b.mtls &&
         a.weight == b.weight && a.health == b.health && a.node == b.node &&
         a.workload == b.workload && a.hostname == b.hostname && SameLabels(a.labels, b.labels) &&
         SameLabels(a.topology, b.topology) && SameProvenance(a.provenance, b.provenance);
}

}  // namespace isthmus::model
