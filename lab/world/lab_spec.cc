#include "lab/world/lab_spec.h"

#include <algorithm>

#include "base/net.h"
#include "base/strings.h"
#include "kubeapi/json.h"
#include "kubeapi/meta.h"
#include "lab/network/netlink.h"

namespace isthmus::lab::world {
namespace {

using kubeapi::Json;
using network::Cidr;

template <typename... Args>
base::Status Bad(fmt::format_string<Args...> format, Args&&... args) {
  return base::Error(base::Code::kInvalidArgument, format, std::forward<Args>(args)...);
}

base::Status CheckFields(const Json& object, std::initializer_list<std::string_view> known,
                         const std::string& where) {
  if (!object.is_object()) return Bad("{}: must be an object", where);
  for (const auto& [key, value] : object.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      return Bad("{}.{}: unknown field; known are {}", where, key, base::Join(known, ", "));
  return {};
}

// "192.168.229.128:6443", also with https:// in front.
base::Status ReadApiServer(const Json& lab, const std::string& where, ClusterSpec& cluster) {
  std::string_view text;
  const std::string whole = kubeapi::StringAt(lab, {"apiServer"});
  text = whole;
  base::ConsumePrefix(text, "https://");
  if (text.empty()) {
    cluster.api_server = cluster.nodes.front().address;
    return {};
  }
  ASSIGN_OR_RETURN(const base::HostPort parsed, base::HostPort::Parse(text, 6443),
                   where + ".apiServer");
  cluster.api_server = parsed.host;
  cluster.api_port = parsed.port;
  const bool known =
      std::any_of(cluster.nodes.begin(), cluster.nodes.end(),
                  [&](const NodeSpec& node) { return node.address == cluster.api_server; });
  if (!known)
    return Bad("{}.apiServer: {} is not the address of one of the cluster's nodes", where,
               parsed.host);
  return {};
}

base::Status ReadNodes(const Json& lab, const std::string& where, size_t index,
                       ClusterSpec& cluster) {
  const Json* nodes = kubeapi::Find(lab, {"nodes"});
  if (nodes == nullptr || (nodes->is_array() && nodes->empty())) {
    cluster.nodes.push_back({.name = cluster.name + "-node1",
                             .address = fmt::format("192.168.229.{}", 128 + 3 * index)});
  } else if (!nodes->is_array()) {
    return Bad("{}.nodes: must be a list", where);
  } else {
    for (size_t i = 0; i < nodes->size(); ++i) {
      const Json& node = (*nodes)[i];
      const std::string here = fmt::format("{}.nodes[{}]", where, i);
      RETURN_IF_ERROR(CheckFields(node, {"name", "address", "podCIDR", "region", "zone"}, here),
                      "lab");
      cluster.nodes.push_back(
          {kubeapi::StringAt(node, {"name"}), kubeapi::StringAt(node, {"address"}),
           kubeapi::StringAt(node, {"podCIDR"}), kubeapi::StringAt(node, {"region"}),
           kubeapi::StringAt(node, {"zone"})});
    }
  }
  for (size_t i = 0; i < cluster.nodes.size(); ++i) {
    NodeSpec& node = cluster.nodes[i];
    const std::string here = fmt::format("{}.nodes[{}]", where, i);
    if (node.name.empty()) node.name = fmt::format("{}-node{}", cluster.name, i + 1);
    if (!kubeapi::IsDnsSubdomain(node.name))
      return Bad("{}.name: \"{}\" is not a DNS name", here, node.name);
    if (node.address.empty() || node.address.find('/') != std::string::npos ||
        !Cidr::Parse(node.address).ok())
      return Bad("{}.address: \"{}\" is not an IPv4 address", here, node.address);
    if (node.pod_range.empty()) node.pod_range = fmt::format("172.{}.{}.0/24", 20 + index, i);
    auto range = Cidr::Parse(node.pod_range);
    if (!range.ok() || range->prefix > 28 || range->prefix < 8 ||
        range->address != range->network())
      return Bad("{}.podCIDR: \"{}\" is not a range such as 172.20.0.0/24", here, node.pod_range);
  }
  return {};
}

base::Status ReadLoadBalancer(const Json& lab, const std::string& where, ClusterSpec& cluster) {
  const Json* balancer = kubeapi::Find(lab, {"loadBalancer"});
  if (balancer == nullptr) return {};
  RETURN_IF_ERROR(CheckFields(*balancer, {"pool", "addresses"}, where + ".loadBalancer"), "lab");
  cluster.load_balancer_pool = kubeapi::StringsAt(*balancer, {"pool"});
  for (const std::string& item : cluster.load_balancer_pool) {
    const auto [first, last] = base::Cut(item, "-");
    if (!Cidr::Parse(first).ok() || (!last.empty() && !Cidr::Parse(last).ok()))
      return Bad(
          "{}.loadBalancer.pool: \"{}\" is not a range such as 192.168.229.200-192.168.229.220",
          where, item);
  }
  const Json* addresses = kubeapi::Find(*balancer, {"addresses"});
  if (addresses == nullptr || !addresses->is_object()) return {};
  for (const auto& [service, address] : addresses->items()) {
    if (!address.is_string() || !Cidr::Parse(address.get<std::string>()).ok() ||
        service.find('/') == std::string::npos)
      return Bad("{}.loadBalancer.addresses[{}]: must map namespace/name to an IPv4 address", where,
                 service);
    cluster.load_balancer_addresses[service] = address.get<std::string>();
  }
  return {};
}

base::Result<ClusterSpec> ReadCluster(const Json& entry, size_t index, const std::string& where) {
  ClusterSpec cluster;
  cluster.name = kubeapi::StringAt(entry, {"name"});
  cluster.network = kubeapi::StringAt(entry, {"network"});
  if (!kubeapi::IsDnsLabel(cluster.name))
    return Bad("{}.name: \"{}\" is not a DNS label", where, cluster.name);
  const Json empty = Json::object();
  const Json* found = kubeapi::Find(entry, {"lab"});
  const Json& lab = found == nullptr || found->is_null() ? empty : *found;
  const std::string here = where + ".lab";
  RETURN_IF_ERROR(
      CheckFields(lab, {"apiServer", "nodes", "serviceCIDR", "loadBalancer", "ingressPort"}, here),
      "lab");
  RETURN_IF_ERROR(ReadNodes(lab, here, index, cluster), "lab");
  RETURN_IF_ERROR(ReadApiServer(lab, here, cluster), "lab");
  RETURN_IF_ERROR(ReadLoadBalancer(lab, here, cluster), "lab");
  cluster.service_range = kubeapi::StringAt(lab, {"serviceCIDR"});
  if (cluster.service_range.empty())
    cluster.service_range = fmt::format("10.{}.0.0/16", 68 + index);
  auto services = Cidr::Parse(cluster.service_range);
  if (!services.ok() || services->prefix > 24 || services->address != services->network())
    return Bad("{}.serviceCIDR: \"{}\" is not a range such as 10.68.0.0/16", here,
               cluster.service_range);
  cluster.ingress_port = static_cast<int>(kubeapi::IntAt(lab, {"ingressPort"}, -1));
  if (cluster.ingress_port > 65535)
    return Bad("{}.ingressPort: {} is not a port", here, cluster.ingress_port);
  return cluster;
}

base::Status ReadRoutes(const Json& document, LabSpec& spec) {
  const Json* routes = kubeapi::Find(document, {"spec", "lab", "routes"});
  if (routes == nullptr || routes->is_null()) return {};
  if (!routes->is_array()) return Bad("spec.lab.routes: must be a list");
  for (size_t i = 0; i < routes->size(); ++i) {
    const Json& entry = (*routes)[i];
    const std::string where = fmt::format("spec.lab.routes[{}]", i);
    RETURN_IF_ERROR(CheckFields(entry, {"at", "to", "via"}, where), "topology");
    StaticRoute route{kubeapi::StringAt(entry, {"at"}), kubeapi::StringAt(entry, {"to"}),
                      kubeapi::StringAt(entry, {"via"})};
    if (spec.Find(route.at) == nullptr)
      return Bad("{}.at: there is no lab cluster {}", where, route.at);
    if (!Cidr::Parse(route.to).ok())
      return Bad("{}.to: \"{}\" is not a range such as 10.96.0.0/16", where, route.to);
    if (auto via = Cidr::Parse(route.via); !via.ok() || via->prefix != 32)
      return Bad("{}.via: \"{}\" is not an IPv4 address", where, route.via);
    spec.routes.push_back(std::move(route));
  }
  return {};
}

// Every address and range of the lab against every other.
base::Status CheckTogether(const LabSpec& spec) {
  std::map<std::string, std::string> names, addresses;
  struct Range {
    Cidr cidr;
    std::string cluster, what;
    bool services;
  };
  std::vector<Range> ranges;
  for (const ClusterSpec& cluster : spec.clusters) {
    for (const NodeSpec& node : cluster.nodes) {
      const std::string what = cluster.name + " node " + node.name;
      if (auto [other, fresh] = addresses.emplace(node.address, what); !fresh)
        return Bad("{}: address {} is also that of {}; every node needs its own", what,
                   node.address, other->second);
      if (auto [other, fresh] = names.emplace(cluster.name + "/" + node.name, what); !fresh)
        return Bad("{}: there are two nodes of that name in the cluster", what);
      ranges.push_back(
          {*Cidr::Parse(node.pod_range), cluster.name, what + " podCIDR " + node.pod_range, false});
    }
    ranges.push_back({*Cidr::Parse(cluster.service_range), cluster.name,
                      cluster.name + " serviceCIDR " + cluster.service_range, true});
  }
  for (size_t i = 0; i < ranges.size(); ++i)
    for (size_t j = i + 1; j < ranges.size(); ++j) {
      // Clusters that do not meet may use the same ranges, as they do in the world.
      if (!spec.Routed(ranges[i].cluster, ranges[j].cluster) ||
          !ranges[i].cidr.Overlaps(ranges[j].cidr))
        continue;
      return Bad("{} overlaps {}; ranges of clusters that reach each other must differ",
                 ranges[i].what, ranges[j].what);
    }
  for (const auto& [address, what] : addresses)
    for (const Range& range : ranges)
      if (range.cidr.Contains(Cidr::Parse(address)->address))
        return Bad("{}: its address {} lies in {}", what, address, range.what);
  return {};
}

}  // namespace

std::string ClusterSpec::DnsAddress() const {
  auto range = Cidr::Parse(service_range);
  return range.ok() ? network::FormatIpv4(range->network() + 10) : "";
}

const ClusterSpec* LabSpec::Find(std::string_view cluster) const {
  for (const ClusterSpec& candidate : clusters)
    if (candidate.name == cluster) return &candidate;
  return nullptr;
}

bool LabSpec::Routed(const std::string& a, const std::string& b) const {
  if (a == b) return true;
  return std::any_of(routed.begin(), routed.end(), [&](const std::set<std::string>& group) {
    return group.count(a) != 0 && group.count(b) != 0;
  });
}

std::string LabSpec::Lacks(const LabSpec& wanted) const {
  if (name != wanted.name) return fmt::format("it is {}, not {}", name, wanted.name);
  if (token_secrets != wanted.token_secrets || open_node_ports != wanted.open_node_ports ||
      image_tables != wanted.image_tables)
    return "spec.lab differs";
  for (const ClusterSpec& cluster : wanted.clusters) {
    const ClusterSpec* mine = Find(cluster.name);
    if (mine == nullptr) return fmt::format("it has no cluster {}", cluster.name);
    if (*mine != cluster)
      return fmt::format("cluster {} has another lab section or network", cluster.name);
  }
  for (const ClusterSpec& cluster : wanted.clusters)
    for (const ClusterSpec& other : wanted.clusters)
      if (Routed(cluster.name, other.name) != wanted.Routed(cluster.name, other.name))
        return fmt::format("spec.lab.routed differs for {} and {}", cluster.name, other.name);
  return "";
}

namespace {

// Which clusters are routed to each other, as a file states it.
Json RoutedGroups(const LabSpec& spec) {
  Json groups = Json::array();
  for (const std::set<std::string>& group : spec.routed) groups.push_back(group);
  return groups;
}

}  // namespace

base::Result<std::string> GrownTopology(std::string_view running, std::string_view wanted) {
  ASSIGN_OR_RETURN(const LabSpec before, LabSpec::Parse(running), "the running lab");
  ASSIGN_OR_RETURN(const LabSpec asked, LabSpec::Parse(wanted), "topology");
  ASSIGN_OR_RETURN(Json grown, kubeapi::ParseYaml(running), "the running lab");
  ASSIGN_OR_RETURN(const Json more, kubeapi::ParseYaml(wanted), "topology");
  for (const Json& cluster : kubeapi::ItemsAt(more, {"spec", "clusters"})) {
    const std::string name = kubeapi::StringAt(cluster, {"name"});
    if (asked.Find(name) != nullptr && before.Find(name) == nullptr)
      grown["spec"]["clusters"].push_back(cluster);
  }
  Json& lab = grown["spec"]["lab"];
  // Without such a field networks decide, and they do so for new clusters as well.
  if (kubeapi::Find(grown, {"spec", "lab", "routed"}) != nullptr ||
      kubeapi::Find(more, {"spec", "lab", "routed"}) != nullptr) {
    lab["routed"] = RoutedGroups(before);
    for (Json& group : RoutedGroups(asked)) lab["routed"].push_back(std::move(group));
  }
  for (const Json& route : kubeapi::ItemsAt(more, {"spec", "lab", "routes"}))
    if (lab["routes"].is_null() ||
        std::find(lab["routes"].begin(), lab["routes"].end(), route) == lab["routes"].end())
      lab["routes"].push_back(route);
  if (lab.is_null()) grown["spec"].erase("lab");
  std::string text = kubeapi::ToYaml(grown);
  ASSIGN_OR_RETURN(const LabSpec after, LabSpec::Parse(text), "the lab with more clusters");
  for (const LabSpec* part : {&before, &asked})
    if (const std::string lacks = after.Lacks(*part); !lacks.empty()) return Bad("{}", lacks);
  return text;
}

base::Result<LabSpec> LabSpec::Parse(std::string_view yaml) {
  ASSIGN_OR_RETURN(const Json document, kubeapi::ParseYaml(yaml), "topology");
  if (kubeapi::StringAt(document, {"kind"}) != "Topology")
    return Bad("kind: must be Topology, not \"{}\"", kubeapi::StringAt(document, {"kind"}));
  LabSpec spec;
  spec.name = kubeapi::StringAt(document, {"metadata", "name"});
  if (const Json* lab = kubeapi::Find(document, {"spec", "lab"}); lab != nullptr) {
    RETURN_IF_ERROR(
        CheckFields(*lab, {"tokenSecrets", "routed", "routes", "images", "openNodePorts"},
                    "spec.lab"),
        "topology");
    spec.token_secrets = kubeapi::BoolAt(*lab, {"tokenSecrets"});
    spec.open_node_ports = kubeapi::BoolAt(*lab, {"openNodePorts"});
    spec.image_tables = kubeapi::StringsAt(*lab, {"images"});
  }
  const Json* clusters = kubeapi::Find(document, {"spec", "clusters"});
  if (clusters == nullptr || !clusters->is_array() || clusters->empty())
    return Bad("spec.clusters: required, a list");
  std::map<std::string, std::set<std::string>> networks;
  for (size_t i = 0; i < clusters->size(); ++i) {
    const std::string where = fmt::format("spec.clusters[{}]", i);
    // A cluster with a context of its own and no lab section is somebody else's.
    if ((*clusters)[i].contains("context") && !(*clusters)[i].contains("lab")) continue;
    ASSIGN_OR_RETURN(ClusterSpec cluster, ReadCluster((*clusters)[i], i, where), "topology");
    if (spec.Find(cluster.name) != nullptr)
      return Bad("{}.name: there are two clusters named {}", where, cluster.name);
    if (!cluster.network.empty()) networks[cluster.network].insert(cluster.name);
    spec.clusters.push_back(std::move(cluster));
  }
  if (spec.clusters.empty())
    return Bad("spec.clusters: none has a lab section; there is nothing for the lab to make");
  RETURN_IF_ERROR(ReadRoutes(document, spec), "topology");
  const Json* routed = kubeapi::Find(document, {"spec", "lab", "routed"});
  if (routed != nullptr && routed->is_array()) {
    for (const Json& group : *routed) {
      std::set<std::string> members;
      for (const std::string& name : kubeapi::StringsAt(group, {})) {
        if (spec.Find(name) == nullptr)
          return Bad("spec.lab.routed: there is no lab cluster {}", name);
        members.insert(name);
      }
      spec.routed.push_back(std::move(members));
    }
  } else {
    for (auto& [name, members] : networks) spec.routed.push_back(std::move(members));
  }
  RETURN_IF_ERROR(CheckTogether(spec), "topology");
  return spec;
}

}  // namespace isthmus::lab::world
