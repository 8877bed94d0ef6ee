#include "lab/node/service_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "base/encoding.h"
#include "base/net.h"
#include "base/strings.h"
#include "kubeapi/meta.h"
#include "lab/network/netlink.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using Out = std::back_insert_iterator<std::string>;

// What is to leave with the node's address is marked on its way through the service rules.
constexpr int kMasqueradeMark = 0x4000;

std::string ProtocolOf(const Json& port) {
  const std::string protocol = kubeapi::StringAt(port, {"protocol"});
  return protocol == "UDP" ? "udp" : protocol == "SCTP" ? "sctp" : "tcp";
}

// Endpoints of one port of a service that are taken: ready ones, or those that end and still serve.
// A slice's port belongs to the service's port of the same name.
enum class Taken { kReady, kServingToTheEnd };

bool Takes(const Json& endpoint, Taken taken) {
  const bool ready = kubeapi::BoolAt(endpoint, {"conditions", "ready"}, true);
  if (taken == Taken::kReady) return ready;
  return kubeapi::BoolAt(endpoint, {"conditions", "serving"}, ready) &&
         kubeapi::BoolAt(endpoint, {"conditions", "terminating"});
}

void AddEndpoints(const Json& slice, Taken taken, ServicePort& port) {
  const Json* ports = kubeapi::Find(slice, {"ports"});
  const Json* endpoints = kubeapi::Find(slice, {"endpoints"});
  if (ports == nullptr || !ports->is_array() || endpoints == nullptr || !endpoints->is_array())
    return;
  for (const Json& candidate : *ports) {
    if (kubeapi::StringAt(candidate, {"name"}) != port.name ||
        ProtocolOf(candidate) != port.protocol)
      continue;
    const auto number = static_cast<uint16_t>(kubeapi::IntAt(candidate, {"port"}));
    for (const Json& endpoint : *endpoints) {
      if (!Takes(endpoint, taken)) continue;
      const Json* addresses = kubeapi::Find(endpoint, {"addresses"});
      if (addresses == nullptr || !addresses->is_array() || addresses->empty() ||
          !(*addresses)[0].is_string())
        continue;
      const std::string address = (*addresses)[0].get<std::string>();
      if (base::IsIpv4Address(address)) port.endpoints.emplace_back(address, number);
    }
  }
}

// As kube-proxy does, ranges that make no sense are passed over.
std::vector<std::string> SourceRanges(const Json& service) {
  std::vector<std::string> ranges;
  const Json* list = kubeapi::Find(service, {"spec", "loadBalancerSourceRanges"});
  if (list == nullptr || !list->is_array()) return ranges;
  for (const Json& item : *list) {
    const auto range = network::Cidr::Parse(item.is_string() ? item.get<std::string>() : "");
    if (range.ok()) ranges.push_back(range->ToString());
  }
  return ranges;
}

void AddAddresses(const Json* list, const char* field, std::vector<std::string>& out) {
  if (list == nullptr || !list->is_array()) return;
  for (const Json& item : *list) {
    const std::string address = field == nullptr ? (item.is_string() ? item.get<std::string>() : "")
                                                 : kubeapi::StringAt(item, {field});
    if (base::IsIpv4Address(address) && std::find(out.begin(), out.end(), address) == out.end())
      out.push_back(address);
  }
}

std::string ChainOf(const ServiceEntry& service, const ServicePort& port) {
  return fmt::format("svc-{:016x}",
                     base::Hash64(fmt::format("{}:{}/{}", service.key, port.port, port.protocol)));
}

std::string Set(const std::vector<std::string>& items) {
  return "{ " + base::Join(items, ", ") + " }";
}

struct Tables {
  std::string chains;
  std::vector<std::string> service_map, node_port_map, no_endpoints, hairpins;
};

void AddPort(const ServiceEntry& service, const ServicePort& port, const NodeRules& rules,
             Tables& tables) {
  const std::string chain = ChainOf(service, port);
  std::vector<std::string> keys = {
      fmt::format("{} . {} . {}", service.cluster_ip, port.protocol, port.port)};
  for (const std::string& address : service.external_ips)
    keys.push_back(fmt::format("{} . {} . {}", address, port.protocol, port.port));
  if (port.endpoints.empty()) {
    tables.no_endpoints.insert(tables.no_endpoints.end(), keys.begin(), keys.end());
    return;
  }
  for (const std::string& key : keys) tables.service_map.push_back(key + " : goto " + chain);
  if (port.node_port != 0)
    tables.node_port_map.push_back(
        fmt::format("{} . {} : goto {}", port.protocol, port.node_port, chain));
  std::string choices;
  for (size_t i = 0; i < port.endpoints.size(); ++i)
    choices += fmt::format("{}{} : {} . {}", i == 0 ? "" : ", ", i, port.endpoints[i].first,
                           port.endpoints[i].second);
  // What comes from elsewhere than this node's pods must come back through this node.
  fmt::format_to(Out(tables.chains), "  chain {} {{\n    ip saddr != {} meta mark set {:#x}\n",
                 chain, rules.pod_range, kMasqueradeMark);
  const char* pick = service.client_ip_affinity ? "jhash ip saddr" : "numgen random";
  fmt::format_to(Out(tables.chains),
                 "    meta l4proto {} dnat ip to {} mod {} map {{ {} }}\n  }}\n", port.protocol,
                 pick, port.endpoints.size(), choices);
  for (const auto& [address, unused] : port.endpoints) {
    const std::string pair = address + " . " + address;
    if (std::find(tables.hairpins.begin(), tables.hairpins.end(), pair) == tables.hairpins.end())
      tables.hairpins.push_back(pair);
  }
}

void AppendMap(std::string& out, const char* kind, const char* name, const char* type,
               const std::vector<std::string>& elements) {
  fmt::format_to(Out(out), "  {} {} {{\n    type {}\n", kind, name, type);
  if (!elements.empty()) fmt::format_to(Out(out), "    elements = {}\n", Set(elements));
  out += "  }\n";
}

// New connections to a load balancer's address from elsewhere than its service allows get no
// answer, as with a cloud's firewall.
void AppendSourceRanges(std::string& out, const std::vector<ServiceEntry>& services) {
  std::string rules;
  for (const ServiceEntry& service : services) {
    if (service.source_ranges.empty() || service.balancer_ips.empty()) continue;
    for (const ServicePort& port : service.ports)
      fmt::format_to(Out(rules), "    ip daddr {} {} dport {} ct state new ip saddr != {} drop\n",
                     Set(service.balancer_ips), port.protocol, port.port,
                     Set(service.source_ranges));
  }
  if (rules.empty()) return;
  // Before the address is translated.
  out += "  chain sources {\n    type filter hook prerouting priority -110;\n" + rules + "  }\n";
}

// The wall: who is not of this network may open connections to services' external addresses, to
// what the lab says is open, and to nothing else. Addresses of services were translated before, so
// it asks conntrack.
void AppendWall(std::string& out, const std::vector<ServiceEntry>& services,
                const NodeRules& rules) {
  if (rules.friends.empty()) return;
  std::set<std::string> external;
  for (const ServiceEntry& service : services)
    external.insert(service.external_ips.begin(), service.external_ips.end());
  fmt::format_to(
      Out(out),
      "  chain wall {{\n    ct state established,related accept\n    ip saddr {} accept\n",
      Set(rules.friends));
  if (!external.empty())
    fmt::format_to(Out(out), "    ct original ip daddr {} ct status dnat accept\n",
                   Set({external.begin(), external.end()}));
  if (!rules.service_range.empty())
    fmt::format_to(Out(out), "    ct original ip daddr {} ct status dnat accept\n",
                   rules.service_range);
  if (rules.open_node_ports)
    fmt::format_to(Out(out), "    ct original ip daddr {} ct status dnat accept\n",
                   rules.node_address);
  for (const uint16_t port : rules.open_ports)
    fmt::format_to(Out(out), "    ip daddr {} tcp dport {} accept\n", rules.node_address, port);
  out +=
      "    jump refuse\n  }\n"
      "  chain input {\n    type filter hook input priority 0;\n    iifname eth0 jump wall\n  }\n"
      "  chain forward {\n    type filter hook forward priority 0;\n    iifname eth0 jump wall\n"
      "    ip daddr . meta l4proto . th dport @no-endpoints jump refuse\n  }\n"
      "  chain local {\n    type filter hook output priority 0;\n"
      "    ip daddr . meta l4proto . th dport @no-endpoints jump refuse\n  }\n";
}

}  // namespace

std::vector<ServiceEntry> ReadServices(const std::map<std::string, Json>& services,
                                       const std::map<std::string, Json>& slices) {
  std::map<std::string, std::vector<const Json*>> slices_of;
  for (const auto& [key, slice] : slices) {
    const std::string name = kubeapi::LabelOf(slice, "kubernetes.io/service-name");
    if (!name.empty() && kubeapi::StringAt(slice, {"addressType"}) != "IPv6")
      slices_of[kubeapi::KeyOf(kubeapi::NamespaceOf(slice), name)].push_back(&slice);
  }
  std::vector<ServiceEntry> entries;
  for (const auto& [key, service] : services) {
    ServiceEntry entry;
    entry.key = key;
    entry.cluster_ip = kubeapi::StringAt(service, {"spec", "clusterIP"});
    if (!base::IsIpv4Address(entry.cluster_ip)) continue;
    AddAddresses(kubeapi::Find(service, {"spec", "externalIPs"}), nullptr, entry.external_ips);
    AddAddresses(kubeapi::Find(service, {"status", "loadBalancer", "ingress"}), "ip",
                 entry.balancer_ips);
    for (const std::string& address : entry.balancer_ips)
      if (std::find(entry.external_ips.begin(), entry.external_ips.end(), address) ==
          entry.external_ips.end())
        entry.external_ips.push_back(address);
    entry.source_ranges = SourceRanges(service);
    entry.client_ip_affinity =
        kubeapi::StringAt(service, {"spec", "sessionAffinity"}) == "ClientIP";
    const Json* ports = kubeapi::Find(service, {"spec", "ports"});
    if (ports == nullptr || !ports->is_array()) continue;
    for (const Json& port : *ports) {
      ServicePort out;
      out.name = kubeapi::StringAt(port, {"name"});
      out.protocol = ProtocolOf(port);
      out.port = static_cast<uint16_t>(kubeapi::IntAt(port, {"port"}));
      out.node_port = static_cast<uint16_t>(kubeapi::IntAt(port, {"nodePort"}));
      // As kube-proxy does: where nothing is ready, what is about to end is better than nothing.
      for (const Json* slice : slices_of[key]) AddEndpoints(*slice, Taken::kReady, out);
      if (out.endpoints.empty())
        for (const Json* slice : slices_of[key]) AddEndpoints(*slice, Taken::kServingToTheEnd, out);
      std::sort(out.endpoints.begin(), out.endpoints.end());
      entry.ports.push_back(std::move(out));
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::string NodeTable(const std::vector<ServiceEntry>& services, const NodeRules& rules) {
  Tables tables;
  for (const ServiceEntry& service : services)
    if (service.cluster_ip != rules.dns_service)
      for (const ServicePort& port : service.ports) AddPort(service, port, rules, tables);
  // "add" first, so that deleting works when there is none; all of it is one step for the kernel.
  std::string out = "add table ip isthmus\ndelete table ip isthmus\ntable ip isthmus {\n";
  AppendMap(out, "map", "services", "ipv4_addr . inet_proto . inet_service : verdict",
            tables.service_map);
  AppendMap(out, "map", "node-ports", "inet_proto . inet_service : verdict", tables.node_port_map);
  AppendMap(out, "set", "no-endpoints", "ipv4_addr . inet_proto . inet_service",
            tables.no_endpoints);
  AppendMap(out, "set", "hairpins", "ipv4_addr . ipv4_addr", tables.hairpins);
  out +=
      "  chain refuse {\n    meta l4proto tcp reject with tcp reset\n"
      "    reject with icmp admin-prohibited\n  }\n";
  out += tables.chains;
  out += "  chain translate {\n";
  if (rules.dns_port != 0 && !rules.dns_service.empty())
    for (const char* protocol : {"udp", "tcp"})
      fmt::format_to(Out(out), "    ip daddr {} {} dport 53 dnat ip to {}:{}\n", rules.dns_service,
                     protocol, rules.node_address, rules.dns_port);
  fmt::format_to(
      Out(out),
      "    ip daddr . meta l4proto . th dport vmap @services\n"
      "    ip daddr {} meta l4proto . th dport vmap @node-ports\n  }}\n"
      "  chain prerouting {{\n    type nat hook prerouting priority -100;\n    jump translate\n  "
      "}}\n"
      "  chain output {{\n    type nat hook output priority -100;\n    jump translate\n  }}\n",
      rules.node_address);
  out +=
      "  chain postrouting {\n    type nat hook postrouting priority 100;\n"
      "    ip saddr . ip daddr @hairpins masquerade\n";
  fmt::format_to(Out(out), "    meta mark {:#x} masquerade\n", kMasqueradeMark);
  std::vector<std::string> direct = rules.direct;
  if (direct.empty()) direct.push_back(rules.pod_range);
  fmt::format_to(Out(out), "    ip saddr {} ip daddr != {} masquerade\n  }}\n", rules.pod_range,
                 Set(direct));
  AppendSourceRanges(out, services);
  AppendWall(out, services, rules);
  return out + "}\n";
}

}  // namespace isthmus::lab::node
