#include "lab/world/wan.h"

#include <algorithm>

#include "base/files.h"
#include "base/strings.h"
#include "lab/network/netlink.h"
#include "lab/network/nft.h"

namespace isthmus::lab::world {
namespace {

using network::Cidr;
using network::Netlink;
using network::NetNs;

constexpr char kBridge[] = "wan0";
constexpr uint16_t kDnsPort = 10053;
// Of routes to nowhere, so that a route that somebody adds counts instead.
constexpr uint32_t kNowhereMetric = 4096;

base::Status SetSysctls(std::initializer_list<std::pair<const char*, const char*>> settings) {
  for (const auto& [name, value] : settings)
    RETURN_IF_ERROR(network::SetSysctl(name, value), "network");
  return {};
}

}  // namespace

// The first address of the first node's /24 that nobody has.
void Wan::ChooseOutside() {
  std::set<uint32_t> taken;
  for (const ClusterSpec& cluster : spec_.clusters) {
    for (const NodeSpec& node : cluster.nodes) taken.insert(Cidr::Parse(node.address)->address);
    for (const auto& [service, address] : cluster.load_balancer_addresses)
      taken.insert(Cidr::Parse(address)->address);
  }
  uint32_t candidate =
      (Cidr::Parse(spec_.clusters.front().nodes.front().address)->address & 0xffffff00) + 1;
  while (taken.count(candidate) != 0) ++candidate;
  outside_ = network::FormatIpv4(candidate);
}

base::Status Wan::Create() {
  ChooseOutside();
  RETURN_IF_ERROR(base::MakeDirs(dir_), "networks");
  ASSIGN_OR_RETURN(const NetNs wan, NetNs::Create(NsPath()), "the lab's network");
  RETURN_IF_ERROR(wan.Within([&]() -> base::Status {
    (void)network::SetSysctl("net/ipv6/conf/default/disable_ipv6", "1");
    ASSIGN_OR_RETURN(Netlink netlink, Netlink::Open(), "netlink");
    RETURN_IF_ERROR(netlink.AddBridge(kBridge), "network");
    RETURN_IF_ERROR(netlink.AddAddress(kBridge, Cidr{Cidr::Parse(outside_)->address, 24}),
                    "network");
    RETURN_IF_ERROR(netlink.SetUp(kBridge), "network");
    // Whatever the addresses of a topology are: they are all on this link.
    return netlink.AddRoute({.to = Cidr{0, 0}, .device = kBridge});
  }),
                  "the lab's network");
  for (const ClusterSpec& cluster : spec_.clusters)
    for (const NodeSpec& node : cluster.nodes)
      RETURN_IF_ERROR(CreateNode(wan, cluster, node), "network of node " + node.name);
  return {};
}

base::Status Wan::Join(const ClusterSpec& cluster) {
  ASSIGN_OR_RETURN(const NetNs wan, NetNs::Open(NsPath()), "the lab's network");
  for (const NodeSpec& node : cluster.nodes) {
    if (node.address == outside_)
      return base::Error(base::Code::kInvalidArgument,
                         "node {}: its address {} is the machine's own in the running lab; give it "
                         "another one, or start the lab again",
                         node.name, outside_);
    RETURN_IF_ERROR(CreateNode(wan, cluster, node), "network of node " + node.name);
  }
  for (const ClusterSpec& other : spec_.clusters)
    for (const NodeSpec& node : other.nodes) {
      if (&other == &cluster) continue;
      ASSIGN_OR_RETURN(const NetNs ns, NetNs::Open(NodeNsPath(other, node)), "node");
      RETURN_IF_ERROR(ns.Within([&] { return AddRoutes(other, node); }), "routes of " + node.name);
    }
  return {};
}

base::Status Wan::CreateNode(const NetNs& wan, const ClusterSpec& cluster, const NodeSpec& node) {
  ASSIGN_OR_RETURN(const NetNs ns, NetNs::Create(NodeNsPath(cluster, node)), "namespace");
  RETURN_IF_ERROR(ns.Within([&]() -> base::Status {
    (void)network::SetSysctl("net/ipv6/conf/default/disable_ipv6", "1");
    return SetSysctls(
        {{"net/ipv4/ip_forward", "1"},
         {"net/ipv4/conf/all/rp_filter", "0"},
         {"net/ipv4/conf/default/rp_filter", "0"},
         {"net/ipv4/conf/default/send_redirects", "0"},
         {"net/ipv4/conf/all/send_redirects", "0"},
         // Only addresses of the link itself are answered for, not those of pods behind.
         {"net/ipv4/conf/default/arp_ignore", "1"},
         {"net/ipv4/ip_unprivileged_port_start", "0"}});
  }),
                  "settings");
  const std::string port = fmt::format("node{}", nodes_++);
  RETURN_IF_ERROR(wan.Within([&]() -> base::Status {
    ASSIGN_OR_RETURN(Netlink netlink, Netlink::Open(), "netlink");
    RETURN_IF_ERROR(netlink.AddVeth(port, "eth0", ns.fd()), "link");
    RETURN_IF_ERROR(netlink.SetMaster(port, kBridge), "link");
    return netlink.SetUp(port);
  }),
                  "link");
  return ns.Within([&] { return AddRoutes(cluster, node); });
}

base::Status Wan::AddRoutes(const ClusterSpec& cluster, const NodeSpec& node) const {
  ASSIGN_OR_RETURN(Netlink netlink, Netlink::Open(), "netlink");
  ASSIGN_OR_RETURN(const Cidr address, Cidr::Parse(node.address), "address");
  RETURN_IF_ERROR(netlink.AddAddress("eth0", Cidr{address.address, 24}), "address");
  RETURN_IF_ERROR(netlink.SetUp("eth0"), "link");
  RETURN_IF_ERROR(netlink.AddRoute({.to = Cidr{0, 0}, .device = "eth0", .source = address.address}),
                  "route");
  for (const ClusterSpec& other : spec_.clusters) {
    const bool routed = Routed(cluster.name, other.name);
    for (const NodeSpec& peer : other.nodes) {
      ASSIGN_OR_RETURN(const Cidr range, Cidr::Parse(peer.pod_range), "pod range");
      if (&peer == &node) {
        // Pods have a route each; what is no pod is nowhere.
        RETURN_IF_ERROR(netlink.AddRoute({.to = range, .unreachable = true}), "route");
      } else if (routed) {
        RETURN_IF_ERROR(netlink.AddRoute({.to = range,
                                          .via = Cidr::Parse(peer.address)->address,
                                          .device = "eth0",
                                          .source = address.address,
                                          .onlink = true}),
                        "route");
      } else if (!range.Overlaps(*Cidr::Parse(node.pod_range))) {
        RETURN_IF_ERROR(
            netlink.AddRoute({.to = range, .unreachable = true, .metric = kNowhereMetric}),
            "route");
      }
    }
    if (other.name == cluster.name || other.service_range == cluster.service_range) continue;
    ASSIGN_OR_RETURN(const Cidr services, Cidr::Parse(other.service_range), "service range");
    // Any node can turn a service's address into a pod's; the guides send it to the first.
    network::Route route{.to = services, .unreachable = true, .metric = kNowhereMetric};
    if (routed)
      route = {.to = services,
               .via = Cidr::Parse(other.nodes.front().address)->address,
               .device = "eth0",
               .source = address.address,
               .onlink = true};
    RETURN_IF_ERROR(netlink.AddRoute(route), "route");
  }
  for (const StaticRoute& stated : spec_.routes) {
    if (stated.at != cluster.name) continue;
    RETURN_IF_ERROR(netlink.AddRoute({.to = *Cidr::Parse(stated.to),
                                      .via = Cidr::Parse(stated.via)->address,
                                      .device = "eth0",
                                      .source = address.address,
                                      .onlink = true}),
                    "route");
  }
  return {};
}

node::NodeRules Wan::RulesOf(const ClusterSpec& cluster, const NodeSpec& node) const {
  node::NodeRules rules;
  rules.node_address = node.address;
  rules.pod_range = node.pod_range;
  rules.dns_port = kDnsPort;
  rules.dns_service = cluster.DnsAddress();
  rules.open_node_ports = spec_.open_node_ports;
  rules.service_range = cluster.service_range;
  if (node.address == cluster.api_server) rules.open_ports.push_back(cluster.api_port);
  rules.friends.push_back(outside_);
  for (const ClusterSpec& other : spec_.clusters) {
    if (!Routed(cluster.name, other.name)) continue;
    for (const NodeSpec& peer : other.nodes) {
      rules.direct.push_back(peer.pod_range);
      rules.friends.push_back(peer.address);
      rules.friends.push_back(peer.pod_range);
    }
  }
  return rules;
}

bool Wan::Routed(const std::string& a, const std::string& b) const {
  return spec_.Routed(a, b) || opened_.count(std::minmax(a, b)) != 0;
}

base::Status Wan::Open(const std::string& a, const std::string& b) {
  if (spec_.Find(a) == nullptr || spec_.Find(b) == nullptr || a == b)
    return base::Error(base::Code::kNotFound, "there is no link between {} and {}", a, b);
  opened_.insert(std::minmax(a, b));
  for (const std::string& name : {a, b}) {
    const ClusterSpec& cluster = *spec_.Find(name);
    for (const NodeSpec& node : cluster.nodes) {
      ASSIGN_OR_RETURN(const NetNs ns, NetNs::Open(NodeNsPath(cluster, node)), "node");
      RETURN_IF_ERROR(ns.Within([&] { return AddRoutes(cluster, node); }), "opening");
    }
  }
  return {};
}

base::Status Wan::Cut(const std::string& a, const std::string& b, bool cut) {
  if (spec_.Find(a) == nullptr || spec_.Find(b) == nullptr || a == b)
    return base::Error(base::Code::kNotFound, "there is no link between {} and {}", a, b);
  const auto link = std::minmax(a, b);
  const std::pair<std::string, std::string> key(link.first, link.second);
  if (cut)
    cuts_.insert(key);
  else
    cuts_.erase(key);
  for (const std::string& name : {a, b}) RETURN_IF_ERROR(ApplyCuts(*spec_.Find(name)), "cutting");
  return {};
}

base::Status Wan::ApplyCuts(const ClusterSpec& cluster) const {
  std::vector<std::string> barred;
  for (const auto& [a, b] : cuts_) {
    if (a != cluster.name && b != cluster.name) continue;
    const ClusterSpec* other = spec_.Find(a == cluster.name ? b : a);
    for (const NodeSpec& node : other->nodes) {
      barred.push_back(node.address);
      barred.push_back(node.pod_range);
    }
  }
  std::string script = "add table ip cut\ndelete table ip cut\n";
  if (!barred.empty())
    script += fmt::format(
        "table ip cut {{\n  chain from {{\n    type filter hook prerouting priority -300;\n"
        "    iifname eth0 ip saddr {{ {} }} drop\n  }}\n}}\n",
        base::Join(barred, ", "));
  for (const NodeSpec& node : cluster.nodes) {
    ASSIGN_OR_RETURN(const NetNs ns, NetNs::Open(NodeNsPath(cluster, node)), "node");
    RETURN_IF_ERROR(ns.Within([&] { return network::ApplyNft(script); }), "rules");
  }
  return {};
}

}  // namespace isthmus::lab::world
