#include "install/topology.h"

#include <fmt/ranges.h>

#include <filesystem>
#include <set>

#include "base/files.h"
#include "base/net.h"
#include "base/process.h"
#include "install/ip_range.h"
#include "install/tree.h"

namespace isthmus::install {
namespace {

using base::Code;
using base::Error;
using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

/// Reads one map of the file: remembers where it is, reports unknown keys and wrong types, gives
/// defaults.
class Reader {
 public:
  Reader(const Json& value, std::string path, std::vector<std::string>& problems)
      : value_(value), path_(std::move(path)), problems_(problems) {
    if (!value.is_object() && !value.is_null()) Problem("", "is not a map");
  }
  ~Reader() {
    if (!value_.is_object()) return;
    for (const auto& [key, unused] : value_.items())
      if (!known_.contains(key))
        Problem(key, "is not a field here; correct the name or take it out");
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void Problem(const std::string& key, const std::string& what) {
    problems_.push_back(fmt::format("{}{}{} {}", path_, key.empty() ? "" : ".", key, what));
  }
  const Json& At(const std::string& key) {
    static const Json none;
    known_.insert(key);
    return value_.is_object() && value_.contains(key) ? value_[key] : none;
  }
  std::string Text(const std::string& key, std::string fallback = "") {
    const Json& found = At(key);
    if (found.is_null()) return fallback;
    if (found.is_number() || found.is_boolean()) return found.dump();
    if (!found.is_string()) {
      Problem(key, "is not a text");
      return fallback;
    }
    return found.get<std::string>();
  }
  std::string Required(const std::string& key) {
    std::string text = Text(key);
    if (text.empty()) Problem(key, "is missing");
    return text;
  }
  bool Bool(const std::string& key) {
    const Json& found = At(key);
    if (!found.is_null() && !found.is_boolean()) Problem(key, "is not true or false");
    return found.is_boolean() && found.get<bool>();
  }
  int Int(const std::string& key, int fallback) {
    const Json& found = At(key);
    if (found.is_null()) return fallback;
    if (!found.is_number_integer()) {
      Problem(key, "is not a whole number");
      return fallback;
    }
    return found.get<int>();
  }
  std::vector<std::string> Texts(const std::string& key) {
    std::vector<std::string> texts;
    for (const Json& element : List(key)) {
      if (element.is_string()) {
        texts.push_back(element.get<std::string>());
      } else {
        Problem(key, "holds something that is not a text");
      }
    }
    return texts;
  }
  std::vector<Json> List(const std::string& key) {
    const Json& found = At(key);
    if (found.is_null()) return {};
    if (!found.is_array()) {
      Problem(key, "is not a list");
      return {};
    }
    return {found.begin(), found.end()};
  }
  std::string PathOf(const std::string& key) const { return path_ + "." + key; }
  std::vector<std::string>& problems() { return problems_; }

 private:
  const Json& value_;
  std::string path_;
  std::vector<std::string>& problems_;
  std::set<std::string> known_;
};

void ReadExposure(Reader& reader, TopologyGateway& gateway) {
  for (const std::string& what : reader.Texts("exposes")) {
    if (what == "services") {
      gateway.exposes_services = true;
    } else if (what == "istiod") {
      gateway.exposes_istiod = true;
    } else {
      reader.Problem("exposes",
                     fmt::format("has \"{}\"; services and istiod can be exposed", what));
    }
  }
}

void ReadNodePorts(Reader& reader, TopologyGateway& gateway) {
  const Json& ports = reader.At("nodePorts");
  if (ports.is_null()) return;
  if (!ports.is_object()) return reader.Problem("nodePorts", "is not a map of port name to number");
  for (const auto& [name, port] : ports.items()) {
    if (port.is_number_integer() && port > 0 && port < 65536) {
      gateway.node_ports[name] = port.get<int>();
    } else {
      reader.Problem("nodePorts." + name, "is not a port");
    }
  }
}

TopologyGateway ReadGateway(Reader& cluster) {
  TopologyGateway gateway;
  const Json& value = cluster.At("eastWestGateway");
  if (value.is_null()) return gateway;
  Reader reader(value, cluster.PathOf("eastWestGateway"), cluster.problems());
  gateway.present = true;
  gateway.service = reader.Text("service");
  gateway.port = reader.Int("port", gateway.service.empty() ? 15443 : 443);
  gateway.external_ips = reader.Texts("externalIPs");
  gateway.cluster_ip = reader.Text("clusterIP");
  gateway.reached_at = reader.Texts("reachedAt");
  for (const std::string& address : gateway.reached_at)
    if (auto parsed = base::HostPort::Parse(address, 0); !parsed.ok() || parsed->port == 0)
      reader.Problem("reachedAt", fmt::format("has \"{}\"; address:port is expected", address));
  ReadNodePorts(reader, gateway);
  ReadExposure(reader, gateway);
  if (!gateway.own() && gateway.service != "istio-ingressgateway")
    reader.Problem("service", "can only be istio-ingressgateway");
  if (gateway.own() && gateway.port != 15443)
    reader.Problem("port", "is always 15443 for a gateway of its own; leave it out");
  if (!gateway.own() &&
      !(gateway.external_ips.empty() && gateway.cluster_ip.empty() && gateway.node_ports.empty()))
    reader.Problem("", "sets fields of a Service that install makes; give them under install");
  return gateway;
}

std::vector<TopologyFiles> ReadFiles(Reader& cluster, const std::string& key) {
  std::vector<TopologyFiles> all;
  std::vector<Json> list = cluster.List(key);
  for (size_t i = 0; i < list.size(); ++i) {
    Reader reader(list[i], fmt::format("{}[{}]", cluster.PathOf(key), i), cluster.problems());
    TopologyFiles files;
    files.ns = reader.Required("namespace");
    files.injection = reader.Bool("injection");
    files.files = reader.Texts("files");
    files.selector = reader.Text("selector");
    all.push_back(std::move(files));
  }
  return all;
}

TopologyLab ReadLab(Reader& cluster) {
  TopologyLab lab;
  const Json& value = cluster.At("lab");
  if (value.is_null()) return lab;
  Reader reader(value, cluster.PathOf("lab"), cluster.problems());
  lab.present = true;
  lab.api_server = reader.Text("apiServer");
  lab.service_cidr = reader.Text("serviceCIDR");
  lab.ingress_port = reader.Int("ingressPort", 0);
  lab.load_balancer = !reader.At("loadBalancer").is_null();
  std::vector<Json> nodes = reader.List("nodes");
  for (size_t i = 0; i < nodes.size(); ++i) {
    Reader node(nodes[i], fmt::format("{}[{}]", reader.PathOf("nodes"), i), cluster.problems());
    lab.nodes.emplace_back(node.Text("name"), node.Text("podCIDR"));
    node.Text("address");
    node.Text("region");
    node.Text("zone");
    node.At("labels");
  }
  return lab;
}

TopologyCluster ReadCluster(const Json& value, const std::string& path,
                            std::vector<std::string>& problems) {
  Reader reader(value, path, problems);
  TopologyCluster cluster;
  cluster.name = reader.Required("name");
  cluster.network = reader.Text("network");
  cluster.control_plane = reader.Text("controlPlane", cluster.name);
  cluster.remote_pilot_address = reader.Text("remotePilotAddress");
  if (const Json& install = reader.At("install"); install.is_object()) cluster.install = install;
  cluster.gateway = ReadGateway(reader);
  cluster.workloads = ReadFiles(reader, "workloads");
  cluster.config = ReadFiles(reader, "config");
  cluster.lab = ReadLab(reader);
  cluster.context = reader.Text("context", cluster.lab.present ? cluster.name : "");
  if (cluster.context.empty())
    reader.Problem("context",
                   "is missing: a cluster is either a kube context or has a lab section");
  return cluster;
}

/// A cluster that says externalControlPlane; of what others say it has little.
TopologyHost ReadHost(const Json& value, const std::string& path,
                      std::vector<std::string>& problems) {
  Reader reader(value, path, problems);
  TopologyHost host;
  host.name = reader.Required("name");
  if (const Json& install = reader.At("install"); install.is_object()) host.install = install;
  {
    Reader external(reader.At("externalControlPlane"), reader.PathOf("externalControlPlane"),
                    problems);
    host.external_ips = external.Texts("externalIPs");
  }
  host.lab = ReadLab(reader);
  host.context = reader.Text("context", host.lab.present ? host.name : "");
  if (host.context.empty())
    reader.Problem("context",
                   "is missing: a cluster is either a kube context or has a lab section");
  if (host.lab.present && host.external_ips.empty() && !host.lab.load_balancer)
    reader.Problem("externalControlPlane",
                   "gets no address, so no cluster can reach it; give it externalIPs, or the lab a "
                   "loadBalancer with a pool");
  return host;
}

/// Of the clusters that name a host as their control plane, the first is the one whose API server
/// that control plane has as its own; it leads the others.
void ResolveHosts(Topology& topology, std::vector<std::string>& problems) {
  for (TopologyHost& host : topology.hosts) {
    for (TopologyCluster& cluster : topology.clusters) {
      if (cluster.control_plane != host.name) continue;
      if (host.serves.empty()) {
        host.serves = cluster.name;
        cluster.host = host.name;
      }
      cluster.control_plane = host.serves;
    }
    if (host.serves.empty())
      problems.push_back(
          fmt::format("cluster {}: it holds a control plane outside of its mesh, but no cluster "
                      "names it as controlPlane",
                      host.name));
  }
}

TopologyRequest ReadRequest(const Json& value, const std::string& path,
                            std::vector<std::string>& problems) {
  Reader reader(value, path, problems);
  TopologyRequest request;
  {
    Reader from(reader.At("from"), reader.PathOf("from"), problems);
    request.from_cluster = from.Required("cluster");
    request.from_ns = from.Text("namespace");
    request.from_app = from.Text("app");
    request.from_gateway = from.Text("gateway");
    if (request.from_app.empty() == request.from_gateway.empty())
      from.Problem("", "needs either app or gateway");
  }
  request.url = reader.Required("url");
  request.count = reader.Int("count", 20);
  request.answers = reader.Texts("answers");
  request.clusters = reader.Texts("clusters");
  if (const Json& share = reader.At("share"); !share.is_null()) {
    if (share.is_array() && share.size() == 2 && share[0].is_number_integer() &&
        share[1].is_number_integer()) {
      request.share_min = share[0].get<int>();
      request.share_max = share[1].get<int>();
    } else {
      reader.Problem("share", "is not a pair of per cents");
    }
  }
  return request;
}

void CheckName(const std::string& name, std::set<std::string>& names,
               std::vector<std::string>& problems) {
  if (!names.insert(name).second)
    problems.push_back(
        fmt::format("spec.clusters has two clusters named {}: their endpoints and secrets would be "
                    "mixed up; rename one",
                    name));
  if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos)
    problems.push_back(fmt::format(
        "cluster \"{}\": the name must be a DNS label (lower-case letters, digits, '-')", name));
}

void CheckControlPlanes(const Topology& topology, std::vector<std::string>& problems) {
  for (const TopologyCluster& cluster : topology.clusters) {
    if (cluster.primary()) continue;
    const TopologyCluster* primary = topology.Find(cluster.control_plane);
    if (primary == nullptr) {
      problems.push_back(
          fmt::format("cluster {}: controlPlane names {}, which is no cluster of this file",
                      cluster.name, cluster.control_plane));
    } else if (!primary->primary()) {
      problems.push_back(
          fmt::format("cluster {}: controlPlane names {}, which is itself a remote of {}",
                      cluster.name, primary->name, primary->control_plane));
    } else if (!primary->host.empty()) {
      continue;  // Reached at its own address.
    } else if (cluster.remote_pilot_address.empty() && !primary->gateway.reached_at.empty()) {
      problems.push_back(
          fmt::format("cluster {}: the gateway of {} is reached at other ports than istiod's; give "
                      "remotePilotAddress",
                      cluster.name, primary->name));
    } else if (cluster.remote_pilot_address.empty() && !primary->gateway.exposes_istiod) {
      problems.push_back(
          fmt::format("cluster {}: nothing leads to the control plane of {}; let its "
                      "eastWestGateway expose istiod, or give remotePilotAddress",
                      cluster.name, primary->name));
    }
  }
}

/// Whether something will give the cluster's gateway an address that others can send to. Outside of
/// the lab only the cluster knows.
bool GatewayGetsAddress(const Topology& topology, const TopologyCluster& cluster) {
  for (const TopologyCluster& one : topology.clusters)
    if (Find(one.install, {"values", "global", "meshNetworks"}) != nullptr) return true;
  return !cluster.lab.present || !cluster.gateway.external_ips.empty() ||
         !cluster.gateway.reached_at.empty() || cluster.lab.load_balancer;
}

void CheckGateways(const Topology& topology, std::vector<std::string>& problems) {
  std::set<std::string> networks, entered;
  for (const TopologyCluster& cluster : topology.clusters)
    if (cluster.gateway.present && !GatewayGetsAddress(topology, cluster))
      problems.push_back(
          fmt::format("cluster {}: its eastWestGateway gets no address, so no other cluster can "
                      "send to it; give it externalIPs, or "
                      "the lab a loadBalancer with a pool",
                      cluster.name));
  for (const TopologyCluster& cluster : topology.clusters) {
    networks.insert(cluster.network);
    if (cluster.gateway.exposes_services) entered.insert(cluster.network);
  }
  if (networks.size() < 2) return;
  for (const std::string& network : networks)
    if (!entered.contains(network))
      problems.push_back(
          fmt::format("network {} has no gateway: give one of its clusters an eastWestGateway that "
                      "exposes services, or its pods "
                      "cannot be reached from the other networks",
                      network.empty() ? "\"\"" : network));
}

/// Pod ranges of one network must not overlap: packets would go to the wrong pod.
void CheckRanges(const Topology& topology, std::vector<std::string>& problems) {
  struct Range {
    const TopologyCluster* cluster;
    std::string text;
    IpRange range;
  };
  std::vector<Range> ranges;
  for (const TopologyCluster& cluster : topology.clusters) {
    for (const auto& [node, text] : cluster.lab.nodes) {
      if (text.empty()) continue;  // The lab chooses one that is free.
      auto range = IpRange::Parse(text);
      if (!range.ok()) {
        problems.push_back(fmt::format("cluster {}, node {}: podCIDR {}", cluster.name, node,
                                       range.status().message()));
        continue;
      }
      for (const Range& other : ranges)
        if (other.cluster->network == cluster.network && other.range.Overlaps(*range))
          problems.push_back(
              fmt::format("clusters {} and {} share network {}, but their pod ranges {} and {} "
                          "overlap; change one",
                          other.cluster->name, cluster.name,
                          cluster.network.empty() ? "\"\"" : cluster.network, other.text, text));
      ranges.push_back(Range{&cluster, text, *range});
    }
  }
}

void CheckRequests(const Topology& topology, std::vector<std::string>& problems) {
  for (const TopologyRequest& request : topology.requests) {
    if (topology.Find(request.from_cluster) == nullptr)
      problems.push_back(
          fmt::format("spec.verify.requests: from.cluster {} is no cluster of this file",
                      request.from_cluster));
    for (const std::string& cluster : request.clusters)
      if (topology.Find(cluster) == nullptr)
        problems.push_back(fmt::format(
            "spec.verify.requests: clusters names {}, which is no cluster of this file", cluster));
  }
}

void CheckFiles(const Topology& topology, std::vector<std::string>& problems) {
  for (const TopologyCluster& cluster : topology.clusters)
    for (const auto* list : {&cluster.workloads, &cluster.config})
      for (const TopologyFiles& files : *list)
        for (const std::string& file : files.files)
          if (auto found = ResolveFile(topology, file); !found.ok())
            problems.push_back(
                fmt::format("cluster {}: {}", cluster.name, found.status().message()));
}

void ReadSpec(const Json& document, Topology& topology, std::vector<std::string>& problems) {
  Reader root(document, "topology", problems);
  root.At("apiVersion");
  root.At("kind");
  root.At("metadata");
  topology.name = StringAt(document, {"metadata", "name"});
  if (topology.name.empty()) root.Problem("metadata.name", "is missing");
  Reader spec(root.At("spec"), "spec", problems);
  topology.mesh_id = spec.Text("meshID", "mesh1");
  topology.trust_domain = spec.Text("trustDomain", "cluster.local");
  {
    Reader trust(spec.At("trust"), "spec.trust", problems);
    topology.trust_directory = trust.Text("directory");
  }
  spec.At("lab");
  std::vector<Json> clusters = spec.List("clusters");
  if (clusters.empty()) spec.Problem("clusters", "is empty: name at least one cluster");
  for (size_t i = 0; i < clusters.size(); ++i) {
    const std::string path = fmt::format("spec.clusters[{}]", i);
    if (clusters[i].is_object() && clusters[i].contains("externalControlPlane"))
      topology.hosts.push_back(ReadHost(clusters[i], path, problems));
    else
      topology.clusters.push_back(ReadCluster(clusters[i], path, problems));
  }
  ResolveHosts(topology, problems);
  Reader verify(spec.At("verify"), "spec.verify", problems);
  std::vector<Json> requests = verify.List("requests");
  for (size_t i = 0; i < requests.size(); ++i)
    topology.requests.push_back(
        ReadRequest(requests[i], fmt::format("spec.verify.requests[{}]", i), problems));
}

}  // namespace

bool Topology::on_lab() const {
  for (const TopologyCluster& cluster : clusters)
    if (cluster.lab.present) return true;
  return false;
}

const TopologyCluster* Topology::Find(std::string_view cluster) const {
  for (const TopologyCluster& one : clusters)
    if (one.name == cluster) return &one;
  return nullptr;
}

const TopologyHost* Topology::HostOf(const TopologyCluster& cluster) const {
  for (const TopologyHost& host : hosts)
    if (host.serves == cluster.control_plane) return &host;
  return nullptr;
}

std::vector<const TopologyCluster*> Topology::primaries() const {
  std::vector<const TopologyCluster*> all;
  for (const TopologyCluster& cluster : clusters)
    if (cluster.primary()) all.push_back(&cluster);
  return all;
}

base::Result<Topology> ParseTopology(std::string_view text, std::string_view file) {
  ASSIGN_OR_RETURN(Json document, kubeapi::ParseYaml(text), file);
  const std::string kind = StringAt(document, {"kind"});
  const std::string version = StringAt(document, {"apiVersion"});
  if (kind != "Topology" || version != "isthmus.dev/v1")
    return Error(
        Code::kInvalidArgument,
        "{}: kind is \"{}\" and apiVersion \"{}\"; a Topology of isthmus.dev/v1 is expected", file,
        kind, version);
  Topology topology;
  topology.file = file;
  std::vector<std::string> problems;
  ReadSpec(document, topology, problems);
  std::set<std::string> names;
  for (const TopologyCluster& cluster : topology.clusters) CheckName(cluster.name, names, problems);
  for (const TopologyHost& host : topology.hosts) CheckName(host.name, names, problems);
  CheckControlPlanes(topology, problems);
  CheckGateways(topology, problems);
  CheckRanges(topology, problems);
  CheckRequests(topology, problems);
  CheckFiles(topology, problems);
  if (!problems.empty())
    return Error(Code::kInvalidArgument, "{} is not a valid topology:\n  {}", file,
                 fmt::join(problems, "\n  "));
  return topology;
}

base::Result<Topology> LoadTopology(const std::string& file) {
  ASSIGN_OR_RETURN(std::string text, base::ReadFile(file), "reading the topology");
  return ParseTopology(text, file);
}

base::Result<std::string> ResolveFile(const Topology& topology, const std::string& file) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  fs::path beside = fs::absolute(topology.file, ignored).parent_path();
  // build/bin/isthmus finds the samples of its own checkout from anywhere.
  fs::path program = fs::path(base::ProgramFile()).parent_path();
  const fs::path places[] = {fs::path(file), beside / file, beside.parent_path() / file,
                             program.parent_path().parent_path() / file,
                             program.parent_path() / "share/isthmus" / file};
  for (const fs::path& place : places)
    if (fs::exists(place, ignored)) return place.string();
  return Error(Code::kNotFound, "file {} does not exist, neither here nor beside {}", file,
               topology.file);
}

}  // namespace isthmus::install
