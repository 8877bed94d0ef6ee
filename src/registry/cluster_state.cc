#include "registry/cluster_state.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "base/net.h"
#include "base/strings.h"
#include "config/parse.h"
#include "istio/networking/v1/workload_entry.pb.h"
#include "kubeapi/meta.h"
#include "pki/spiffe.h"

namespace isthmus::registry {
namespace {

using istio::networking::v1::WorkloadEntry;

std::string At(const model::Labels& labels, std::string_view key) {
  return base::ValueOf(labels, std::string(key));
}

bool Selects(const model::Labels& selector, const model::Labels& labels) {
  for (const auto& [key, value] : selector) {
    auto found = labels.find(key);
    if (found == labels.end() || found->second != value) return false;
  }
  return true;
}

model::Labels ToLabels(const google::protobuf::Map<std::string, std::string>& map) {
  return model::Labels(map.begin(), map.end());
}

/// "ns/name" in its parts.
std::pair<std::string, std::string> SplitKey(const std::string& key) {
  const auto [ns, name] = base::Cut(key, "/");
  return {std::string(ns), std::string(name)};
}

/// The entries of a map keyed "ns/name" that belong to `ns`.
template <typename Map>
auto InNamespace(const Map& map, const std::string& ns) {
  // '0' follows '/' in ASCII.
  return std::make_pair(map.lower_bound(ns + "/"), map.lower_bound(ns + "0"));
}

bool ByAddress(const model::Endpoint& a, const model::Endpoint& b) {
  return std::tie(a.address, a.port, a.port_name) < std::tie(b.address, b.port, b.port_name);
}

model::Locality LocalityLabel(const model::Labels& labels) {
  std::string text = At(labels, "topology.istio.io/locality");
  if (text.empty()) text = At(labels, "istio-locality");
  return model::Locality::Parse(text);
}

bool SameEndpoint(const SliceEndpoint& a, const SliceEndpoint& b) {
  return std::tie(a.address, a.pod_ns, a.pod, a.node, a.hostname, a.ready, a.serving,
                  a.terminating) == std::tie(b.address, b.pod_ns, b.pod, b.node, b.hostname,
                                             b.ready, b.serving, b.terminating);
}

bool SameSlice(const SliceRecord& a, const SliceRecord& b) {
  return a.service == b.service && a.ports == b.ports &&
         std::equal(a.endpoints.begin(), a.endpoints.end(), b.endpoints.begin(), b.endpoints.end(),
                    SameEndpoint);
}

bool SameService(const ServiceRecord& a, const ServiceRecord& b) {
  return *a.service == *b.service && a.export_to == b.export_to &&
         a.kubernetes_accounts == b.kubernetes_accounts && a.target_names == b.target_names &&
         a.load_balancer == b.load_balancer && a.node_selector == b.node_selector;
}

int GatewayPort(const model::Service& service) {
  const auto port = base::ParseInt(At(service.labels, "networking.istio.io/gatewayPort"));
  return port.ok() && *port > 0 && *port < 65536 ? static_cast<int>(*port) : 15443;
}

void WarnOfUselessGateway(const model::ClusterId& cluster, const ServiceRecord& record) {
  const model::Service& service = *record.service;
  const std::string network = At(service.labels, kNetworkLabel);
  if (network.empty()) return;
  if (service.FindPort(GatewayPort(service)) == nullptr && service.FindPort(15008) == nullptr)
    LOG_WARN("registry",
             "{}: Service {}/{} is labelled as gateway of network {} but has no port {}",
             cluster.text(), service.ns, service.name, network, GatewayPort(service));
  else if (record.load_balancer.empty() && !record.node_selector)
    LOG_WARN(
        "registry",
        "{}: Service {}/{}, gateway of network {}, has no address yet: its load balancer gave none",
        cluster.text(), service.ns, service.name, network);
}

}  // namespace

ClusterState::ClusterState(model::ClusterId id, ClusterContext context,
                           std::shared_ptr<LabelPool> pool)
    : id_(std::move(id)), context_(std::move(context)), pool_(std::move(pool)) {}

void ClusterState::SetContext(ClusterContext context) {
  if (context == context_) return;
  context_ = std::move(context);
  discovered_.clear();
  for (const auto& [name, record] : namespaces_)
    if (Selected(record)) discovered_.insert(name);
  PlaceAll();
}

bool ClusterState::Selected(const NamespaceRecord& record) const {
  if (context_.discovery.empty()) return false;
  const Json labels = record.labels == nullptr ? Json::object() : Json(*record.labels);
  return std::any_of(context_.discovery.begin(), context_.discovery.end(),
                     [&](const kubeapi::LabelSelector& one) { return one.Matches(labels); });
}

ClusterDirt ClusterState::TakeDirt() {
  ClusterDirt taken = std::move(dirt_);
  dirt_ = ClusterDirt();
  dirt_.all = false;
  return taken;
}

void ClusterState::MarkAll() {
  dirt_ = ClusterDirt();
  dirt_.all = true;
}

void ClusterState::Apply(Watched kind, const std::string& key, const Json* now) {
  switch (kind) {
    case Watched::kNamespace: {
      if (now == nullptr) return PutNamespace(key, nullptr);
      const NamespaceRecord record = ReadNamespace(*now, *pool_);
      return PutNamespace(key, &record);
    }
    case Watched::kService:
      return now == nullptr ? RemoveService(key)
                            : PutService(key, ReadService(*now, id_, context_.domain_suffix));
    case Watched::kPod: {
      auto pod = now == nullptr ? std::nullopt : ReadPod(*now, *pool_);
      return pod ? PutPod(key, std::move(*pod)) : RemovePod(key);
    }
    case Watched::kNode: {
      if (now == nullptr) return PutNode(key, nullptr);
      const NodeRecord record = ReadNode(*now, *pool_);
      return PutNode(key, &record);
    }
    case Watched::kEndpointSlice: {
      auto slice = now == nullptr ? std::nullopt : ReadSlice(*now);
      return slice ? PutSlice(key, std::move(*slice)) : RemoveSlice(key);
    }
    case Watched::kWorkloadEntry: {
      if (now == nullptr) return RemoveWorkloadEntry(key);
      auto entry = config::ReadObject<WorkloadEntry>(*now);
      if (entry.ok()) return PutWorkloadEntry(key, std::move(*entry));
      LOG_WARN("registry", "{}: {}; it is left out", id_.text(), entry.status().message());
      return RemoveWorkloadEntry(key);
    }
    case Watched::kSecret: {
      auto credential = now == nullptr ? std::nullopt : ReadCredential(*now);
      auto held = credentials_.find(key);
      if (credential ? held != credentials_.end() && held->second == *credential
                     : held == credentials_.end())
        return;
      if (credential)
        credentials_[key] = std::move(*credential);
      else
        credentials_.erase(held);
      dirt_.credentials.insert(key);
      return;
    }
  }
}

// ---- Services

void ClusterState::PutService(const std::string& key, ServiceRecord record) {
  auto held = services_.find(key);
  if (held != services_.end() && SameService(held->second, record)) return;
  const bool was_gateway =
      held != services_.end() && (held->second.service->labels.contains(kNetworkLabel) ||
                                  !context_.networks.service_gateways().empty());
  const std::string host = record.service->hostname;
  if (!dirt_.all) {
    dirt_.services.insert(host);
    // Ports, selector and readiness rules of the service decide about its endpoints.
    dirt_.endpoints.insert(host + "/" + record.service->ns);
    dirt_.gateways = dirt_.gateways || was_gateway ||
                     record.service->labels.contains(kNetworkLabel) ||
                     !context_.networks.service_gateways().empty();
  }
  WarnOfUselessGateway(id_, record);
  services_.insert_or_assign(key, std::move(record));
}

void ClusterState::RemoveService(const std::string& key) {
  auto held = services_.find(key);
  if (held == services_.end()) return;
  const model::Service& service = *held->second.service;
  if (!dirt_.all) {
    dirt_.services.insert(service.hostname);
    dirt_.endpoints.insert(service.hostname + "/" + service.ns);
    dirt_.gateways = dirt_.gateways || service.labels.contains(kNetworkLabel) ||
                     !context_.networks.service_gateways().empty();
  }
  services_.erase(held);
}

const ServiceRecord* ClusterState::FindService(const std::string& hostname) const {
  std::string_view rest = hostname;
  if (!base::ConsumeSuffix(rest, ".svc." + context_.domain_suffix)) return nullptr;
  const auto [name, ns] = base::Cut(rest, ".");
  auto found = services_.find(fmt::format("{}/{}", ns, name));
  if (found == services_.end() || !Discovers(found->second.service->ns)) return nullptr;
  return &found->second;
}

std::vector<std::string> ClusterState::Hostnames() const {
  std::vector<std::string> hosts;
  hosts.reserve(services_.size());
  for (const auto& [key, record] : services_)
    if (Discovers(record.service->ns)) hosts.push_back(record.service->hostname);
  return hosts;
}

std::string ClusterState::NamespaceTrafficDistribution(const std::string& ns) const {
  auto found = namespaces_.find(ns);
  return found == namespaces_.end() ? "" : TrafficDistribution(found->second.traffic_distribution);
}

// ---- Pods, nodes, networks

ClusterState::Placed ClusterState::NetworkOf(const model::Labels& labels,
                                             const std::string& address) const {
  if (auto label = labels.find(kNetworkLabel); label != labels.end() && !label->second.empty())
    return {model::NetworkId(label->second), "pod label"};
  if (std::string network = NamespaceNetwork(); !network.empty())
    return {model::NetworkId(std::move(network)), "namespace label"};
  if (const auto& network = context_.networks.OfCluster(id_); !network.empty())
    return {network, "meshNetworks fromRegistry"};
  if (const auto& network = context_.networks.OfAddress(address); !network.empty())
    return {network, "meshNetworks fromCidr"};
  return {model::NetworkId(), "none"};
}

std::string ClusterState::NamespaceNetwork() const {
  auto found = namespaces_.find(context_.system_namespace);
  return found == namespaces_.end() ? std::string() : At(*found->second.labels, kNetworkLabel);
}

std::vector<std::string> ClusterState::Leaders() const {
  auto found = namespaces_.find(context_.system_namespace);
  return found == namespaces_.end() ? std::vector<std::string>()
                                    : base::SplitList(found->second.leaders);
}

LabelsPtr ClusterState::Topology(const model::Labels& labels, const model::Locality& locality,
                                 const std::string& node, const model::NetworkId& network) const {
  model::Labels topology;
  if (!locality.region.empty()) topology[kRegionLabel] = locality.region;
  if (!locality.zone.empty()) topology[kZoneLabel] = locality.zone;
  if (!locality.subzone.empty()) topology[kSubzoneLabel] = locality.subzone;
  if (!node.empty()) topology[kHostnameLabel] = node;
  topology[kClusterLabel] = id_.text();
  if (!network.empty() && !labels.contains(kNetworkLabel)) topology[kNetworkLabel] = network.text();
  return pool_->Intern(std::move(topology));
}

void ClusterState::Place(model::Workload workload, Pod& pod) const {
  workload.locality = LocalityLabel(*workload.labels);
  if (workload.locality.empty())
    if (auto node = nodes_.find(workload.node); node != nodes_.end())
      workload.locality = node->second.locality;
  const Placed placed =
      NetworkOf(*workload.labels, workload.addresses.empty() ? "" : workload.addresses.front());
  workload.network = placed.network;
  pod.network_source = placed.source;
  pod.topology = Topology(*workload.labels, workload.locality, workload.node, placed.network);
  pod.workload = std::make_shared<const model::Workload>(std::move(workload));
}

bool ClusterState::SamePod(const Pod& pod, const PodRecord& record) {
  const model::Workload& workload = *pod.workload;
  return workload.addresses == record.addresses && *workload.labels == *record.labels &&
         workload.service_account == record.service_account && workload.node == record.node &&
         pod.owner == record.workload && *workload.container_ports == *record.container_ports;
}

void ClusterState::PlaceAll() {
  for (auto& [key, pod] : pods_) Place(*pod.workload, pod);
  MarkAll();
}

void ClusterState::PutPod(const std::string& key, PodRecord record) {
  auto held = pods_.find(key);
  // Most events about a pod (conditions, container states) do not matter to the mesh.
  if (held != pods_.end() && SamePod(held->second, record)) {
    if (held->second.ready != record.ready && !dirt_.all)
      dirt_.namespaces.insert(SplitKey(key).first);
    held->second.ready = record.ready;
    return;
  }
  Pod& pod = pods_[key];
  pod.owner = std::move(record.workload);
  pod.ready = record.ready;
  model::Workload workload;
  std::tie(workload.ns, workload.name) = SplitKey(key);
  workload.cluster = id_;
  workload.addresses = std::move(record.addresses);
  workload.addresses.shrink_to_fit();
  workload.labels = std::move(record.labels);
  workload.service_account = std::move(record.service_account);
  workload.node = std::move(record.node);
  workload.container_ports = std::move(record.container_ports);
  Place(std::move(workload), pod);
  MarkEndpointsOfPod(key);
}

void ClusterState::RemovePod(const std::string& key) {
  if (pods_.erase(key) > 0) MarkEndpointsOfPod(key);
}

void ClusterState::MarkEndpointsOfPod(const std::string& key) {
  if (dirt_.all) return;
  dirt_.workloads.insert(key);
  const auto [ns, name] = SplitKey(key);
  dirt_.namespaces.insert(ns);
  // Slices name pods of their own namespace; an index would cost more memory than this walk costs
  // time.
  const auto [first, last] = InNamespace(slices_, ns);
  for (auto it = first; it != last; ++it) {
    const bool names_pod =
        std::any_of(it->second.begin(), it->second.end(), [&](const auto& slice) {
          return std::any_of(slice.second.endpoints.begin(), slice.second.endpoints.end(),
                             [&name](const SliceEndpoint& e) { return e.pod == name; });
        });
    if (!names_pod) continue;
    const std::string service = SplitKey(it->first).second;
    dirt_.endpoints.insert(HostnameOf(service, ns, context_.domain_suffix) + "/" + ns);
  }
}

void ClusterState::PutNode(const std::string& key, const NodeRecord* node) {
  auto held = nodes_.find(key);
  const model::Locality before = held == nodes_.end() ? model::Locality() : held->second.locality;
  const std::string ip_before = held == nodes_.end() ? "" : held->second.external_ip;
  const LabelsPtr labels_before = held == nodes_.end() ? nullptr : held->second.labels;
  if (node != nullptr)
    nodes_[key] = *node;
  else
    nodes_.erase(key);
  if (ip_before != (node ? node->external_ip : "") ||
      labels_before != (node ? node->labels : nullptr))
    dirt_.gateways = true;
  if (before == (node ? node->locality : model::Locality())) return;
  for (auto& [pod_key, pod] : pods_) {
    if (pod.workload->node != key) continue;
    Place(*pod.workload, pod);
    MarkEndpointsOfPod(pod_key);
  }
  if (dirt_.all) return;
  // Endpoints that are no pods take their locality from the node that the slice names.
  for (const auto& [service_key, slices] : slices_)
    for (const auto& [name, slice] : slices)
      for (const SliceEndpoint& endpoint : slice.endpoints)
        if (endpoint.pod.empty() && endpoint.node == key) {
          const auto [ns, service] = SplitKey(service_key);
          dirt_.endpoints.insert(HostnameOf(service, ns, context_.domain_suffix) + "/" + ns);
        }
}

void ClusterState::PutNamespace(const std::string& key, const NamespaceRecord* record) {
  const std::string network_before = NamespaceNetwork();
  const std::string wish_before = NamespaceTrafficDistribution(key);
  if (record != nullptr)
    namespaces_[key] = *record;
  else
    namespaces_.erase(key);
  const bool was_seen = Discovers(key);
  if (record != nullptr && Selected(*record)) {
    discovered_.insert(key);
  } else {
    discovered_.erase(key);
  }
  if (Discovers(key) != was_seen) MarkAll();
  if (NamespaceNetwork() != network_before) return PlaceAll();
  if (dirt_.all || NamespaceTrafficDistribution(key) == wish_before) return;
  const auto [first, last] = InNamespace(services_, key);
  for (auto it = first; it != last; ++it) dirt_.services.insert(it->second.service->hostname);
}

std::shared_ptr<const model::Workload> ClusterState::FindWorkload(const std::string& key) const {
  if (!Discovers(key.substr(0, key.find('/')))) return nullptr;
  if (auto pod = pods_.find(key); pod != pods_.end()) return pod->second.workload;
  auto found = entries_.find(key);
  if (found == entries_.end()) return nullptr;
  const WorkloadEntry& entry = found->second->spec;
  auto workload = std::make_shared<model::Workload>();
  std::tie(workload->ns, workload->name) = SplitKey(key);
  workload->cluster = id_;
  if (!entry.address().empty()) workload->addresses.push_back(entry.address());
  workload->labels = pool_->Intern(ToLabels(entry.labels()));
  workload->service_account = entry.service_account();
  workload->locality = model::Locality::Parse(entry.locality());
  if (workload->locality.empty()) workload->locality = LocalityLabel(*workload->labels);
  workload->network = model::NetworkId(entry.network());
  LabelPool::Ports ports;
  for (const auto& [name, port] : entry.ports()) ports.emplace(name, static_cast<int>(port));
  workload->container_ports = pool_->InternPorts(std::move(ports));
  return workload;
}

std::vector<std::string> ClusterState::WorkloadKeys() const {
  std::vector<std::string> keys;
  keys.reserve(pods_.size() + entries_.size());
  auto seen = [this](const std::string& key) { return Discovers(key.substr(0, key.find('/'))); };
  for (const auto& [key, pod] : pods_)
    if (seen(key)) keys.push_back(key);
  for (const auto& [key, entry] : entries_)
    if (!pods_.contains(key) && seen(key)) keys.push_back(key);
  return keys;
}

// ---- Endpoints

void ClusterState::PutSlice(const std::string& key, SliceRecord record) {
  const auto [ns, name] = SplitKey(key);
  const std::string service_key = ns + "/" + record.service;
  auto held = service_of_slice_.find(key);
  if (held != service_of_slice_.end() && held->second != service_key) RemoveSlice(key);
  auto& slices = slices_[service_key];
  auto old = slices.find(name);
  if (old != slices.end() && SameSlice(old->second, record)) return;
  if (!dirt_.all)
    dirt_.endpoints.insert(HostnameOf(record.service, ns, context_.domain_suffix) + "/" + ns);
  slices.insert_or_assign(name, std::move(record));
  service_of_slice_[key] = service_key;
}

void ClusterState::RemoveSlice(const std::string& key) {
  auto held = service_of_slice_.find(key);
  if (held == service_of_slice_.end()) return;
  const auto [ns, name] = SplitKey(key);
  auto slices = slices_.find(held->second);
  const std::string service = SplitKey(held->second).second;
  if (!dirt_.all)
    dirt_.endpoints.insert(HostnameOf(service, ns, context_.domain_suffix) + "/" + ns);
  slices->second.erase(name);
  if (slices->second.empty()) slices_.erase(slices);
  service_of_slice_.erase(held);
}

void ClusterState::PutWorkloadEntry(const std::string& key, WorkloadEntryRecord record) {
  RemoveWorkloadEntry(key);
  const auto [ns, name] = SplitKey(key);
  if (!dirt_.all) dirt_.workloads.insert(key);
  MarkEndpointsOfEntry(ns, ToLabels(record->spec.labels()));
  entries_.insert_or_assign(key, std::move(record));
}

void ClusterState::RemoveWorkloadEntry(const std::string& key) {
  auto held = entries_.find(key);
  if (held == entries_.end()) return;
  const auto [ns, name] = SplitKey(key);
  if (!dirt_.all) dirt_.workloads.insert(key);
  MarkEndpointsOfEntry(ns, ToLabels(held->second->spec.labels()));
  entries_.erase(held);
}

void ClusterState::MarkEndpointsOfEntry(const std::string& ns, const model::Labels& labels) {
  if (dirt_.all) return;
  dirt_.namespaces.insert(ns);
  const auto [first, last] = InNamespace(services_, ns);
  for (auto it = first; it != last; ++it) {
    const model::Service& service = *it->second.service;
    if (!service.selector.empty() && Selects(service.selector, labels))
      dirt_.endpoints.insert(service.hostname + "/" + ns);
  }
}

std::string ClusterState::Identity(const std::string& ns, const std::string& account) const {
  if (account.empty()) return {};
  return pki::SpiffeId{context_.trust_domain, ns, account}.uri();
}

std::shared_ptr<const model::ServiceEndpoints::Shard> ClusterState::BuildShard(
    const std::string& hostname, bool standby) const {
  const ServiceRecord* record = FindService(hostname);
  if (record == nullptr) return nullptr;
  const model::Service& service = *record->service;
  auto shard = std::make_shared<model::ServiceEndpoints::Shard>();
  shard->provider = "Kubernetes";
  shard->cluster = id_;
  const auto add_slices = [&](bool standing_by) {
    const auto slices = slices_.find(service.ns + "/" + service.name);
    if (slices == slices_.end()) return;
    for (const auto& [name, slice] : slices->second)
      if (slice.standby == standing_by) AddSliceEndpoints(*record, name, slice, shard->endpoints);
  };
  add_slices(false);
  AddEntryEndpoints(*record, shard->endpoints);
  if (standby && std::none_of(shard->endpoints.begin(), shard->endpoints.end(),
                              [](const model::Endpoint& endpoint) {
                                return endpoint.health == model::Health::kHealthy;
                              }))
    add_slices(true);
  if (shard->endpoints.empty()) return nullptr;
  std::sort(shard->endpoints.begin(), shard->endpoints.end(), ByAddress);
  // While endpoints move between slices, one may be in two of them.
  auto twice = std::unique(
      shard->endpoints.begin(), shard->endpoints.end(), [](const auto& a, const auto& b) {
        return a.address == b.address && a.port == b.port && a.port_name == b.port_name;
      });
  shard->endpoints.erase(twice, shard->endpoints.end());
  shard->endpoints.shrink_to_fit();
  return shard;
}

void ClusterState::AddSliceEndpoints(const ServiceRecord& record, const std::string& slice_name,
                                     const SliceRecord& slice,
                                     std::vector<model::Endpoint>& out) const {
  const model::Service& service = *record.service;
  // One for all endpoints whose network was decided alike.
  std::map<std::string_view, std::shared_ptr<const model::Provenance>> provenances;
  const bool drains = service.labels.contains("istio.io/persistent-session");
  for (const SliceEndpoint& item : slice.endpoints) {
    model::Endpoint endpoint;
    endpoint.address = item.address;
    endpoint.cluster = id_;
    endpoint.ns = service.ns;
    endpoint.node = item.node;
    endpoint.hostname = item.hostname;
    if (service.publish_not_ready || item.ready || (slice.standby && item.serving))
      endpoint.health = model::Health::kHealthy;
    else if (item.terminating)
      endpoint.health =
          item.serving && drains ? model::Health::kDraining : model::Health::kTerminating;
    else
      endpoint.health = model::Health::kUnhealthy;
    const char* source = "none";
    if (!item.pod.empty()) {
      auto pod = pods_.find(item.pod_ns + "/" + item.pod);
      // Without the pod neither identity nor network are known: it is sent when the pod is seen.
      if (pod == pods_.end()) continue;
      const Pod& known = pod->second;
      endpoint.labels = known.workload->labels;
      endpoint.topology = known.topology;
      endpoint.locality = known.workload->locality;
      endpoint.network = known.workload->network;
      endpoint.service_account = Identity(item.pod_ns, known.workload->service_account);
      endpoint.mtls = At(*known.workload->labels, kTlsModeLabel) == "istio";
      endpoint.workload = known.owner;
      if (endpoint.node.empty()) endpoint.node = known.workload->node;
      source = known.network_source;
    } else {
      if (auto node = nodes_.find(item.node); node != nodes_.end())
        endpoint.locality = node->second.locality;
      const Placed placed = NetworkOf({}, item.address);
      endpoint.network = placed.network;
      endpoint.labels = pool_->Intern({});
      endpoint.topology = Topology({}, endpoint.locality, item.node, placed.network);
      source = placed.source;
    }
    auto& provenance = provenances[source];
    if (!provenance)
      provenance = std::make_shared<const model::Provenance>(model::Provenance{
          fmt::format("EndpointSlice {} {}/{}", id_.text(), service.ns, slice_name), source});
    endpoint.provenance = provenance;
    for (const auto& [name, number] : slice.ports) {
      endpoint.port_name = name;
      endpoint.port = number;
      out.push_back(endpoint);
    }
  }
}

model::Endpoint ClusterState::EntryEndpoint(const WorkloadEntry& entry, const std::string& ns,
                                            const std::string& name,
                                            const std::string& source) const {
  model::Labels labels = ToLabels(entry.labels());
  model::Endpoint endpoint;
  endpoint.address = entry.address();
  endpoint.cluster = id_;
  endpoint.ns = ns;
  endpoint.workload = name;
  endpoint.weight = entry.weight() == 0 ? 1 : entry.weight();
  endpoint.service_account = Identity(ns, entry.service_account());
  const std::string tls_mode = At(labels, kTlsModeLabel);
  endpoint.mtls = tls_mode.empty() ? !entry.service_account().empty() : tls_mode == "istio";
  endpoint.locality = model::Locality::Parse(entry.locality());
  if (endpoint.locality.empty()) endpoint.locality = LocalityLabel(labels);
  // The endpoint's own network is the field and nothing else, as in Istio: without it every proxy
  // dials the address itself. The label takes part in the choice of subsets only.
  endpoint.network = model::NetworkId(entry.network());
  const Placed placed = entry.network().empty() ? NetworkOf(labels, entry.address())
                                                : Placed{endpoint.network, "field network"};
  endpoint.topology = Topology(labels, endpoint.locality, "", placed.network);
  endpoint.labels = pool_->Intern(std::move(labels));
  endpoint.provenance = std::make_shared<const model::Provenance>(
      model::Provenance{source, entry.network().empty() ? "none" : "field network"});
  return endpoint;
}

void ClusterState::AddEntryEndpoints(const ServiceRecord& record,
                                     std::vector<model::Endpoint>& out) const {
  const model::Service& service = *record.service;
  if (service.selector.empty() || entries_.empty()) return;
  const auto [first, last] = InNamespace(entries_, service.ns);
  for (auto it = first; it != last; ++it) {
    const WorkloadEntry& entry = it->second->spec;
    if (!Selects(service.selector, ToLabels(entry.labels()))) continue;
    model::Endpoint endpoint =
        EntryEndpoint(entry, service.ns, it->second->meta.name,
                      fmt::format("WorkloadEntry {} {}", id_.text(), it->first));
    for (const model::Port& port : service.ports) {
      auto target = record.target_names.find(port.number);
      auto own = entry.ports().find(port.name);
      if (own == entry.ports().end() && target != record.target_names.end())
        own = entry.ports().find(target->second);
      const int number = own != entry.ports().end() ? static_cast<int>(own->second)
                         : port.target != 0         ? port.target
                                                    : port.number;
      endpoint.port = static_cast<uint16_t>(number);
      endpoint.port_name = port.name;
      out.push_back(endpoint);
    }
  }
}

std::vector<model::Endpoint> ClusterState::SelectEndpoints(const std::string& ns,
                                                           const model::Labels& selector,
                                                           const std::vector<model::Port>& ports,
                                                           const std::string& source) const {
  std::vector<model::Endpoint> found;
  if (!Discovers(ns)) return found;
  const auto [first_pod, last_pod] = InNamespace(pods_, ns);
  for (auto it = first_pod; it != last_pod; ++it) {
    const Pod& pod = it->second;
    if (!Selects(selector, *pod.workload->labels) || pod.workload->addresses.empty() || !pod.ready)
      continue;
    model::Endpoint endpoint;
    endpoint.address = pod.workload->addresses.front();
    endpoint.cluster = id_;
    endpoint.ns = ns;
    endpoint.node = pod.workload->node;
    endpoint.labels = pod.workload->labels;
    endpoint.topology = pod.topology;
    endpoint.locality = pod.workload->locality;
    endpoint.network = pod.workload->network;
    endpoint.service_account = Identity(ns, pod.workload->service_account);
    endpoint.mtls = At(*pod.workload->labels, kTlsModeLabel) == "istio";
    endpoint.workload = pod.owner;
    endpoint.provenance = std::make_shared<const model::Provenance>(model::Provenance{
        fmt::format("{} selects pod {} {}", source, id_.text(), it->first), pod.network_source});
    for (const model::Port& port : ports) {
      endpoint.port = static_cast<uint16_t>(port.target != 0 ? port.target : port.number);
      endpoint.port_name = port.name;
      found.push_back(endpoint);
    }
  }
  const auto [first, last] = InNamespace(entries_, ns);
  for (auto it = first; it != last; ++it) {
    const WorkloadEntry& entry = it->second->spec;
    if (!Selects(selector, ToLabels(entry.labels()))) continue;
    model::Endpoint endpoint =
        EntryEndpoint(entry, ns, it->second->meta.name,
                      fmt::format("{} selects WorkloadEntry {} {}", source, id_.text(), it->first));
    for (const model::Port& port : ports) {
      auto own = entry.ports().find(port.name);
      const int target = port.target != 0 ? port.target : port.number;
      endpoint.port = static_cast<uint16_t>(own != entry.ports().end() ? own->second : target);
      endpoint.port_name = port.name;
      found.push_back(endpoint);
    }
  }
  std::sort(found.begin(), found.end(), ByAddress);
  return found;
}

// ---- Gateways of networks

std::vector<model::NetworkGateway> ClusterState::Gateways() const {
  std::vector<model::NetworkGateway> gateways;
  for (const auto& [key, record] : services_) {
    if (!Discovers(record.service->ns)) continue;
    const std::string network = At(record.service->labels, kNetworkLabel);
    if (!network.empty()) {
      AddServiceGateways(record, model::NetworkId(network), GatewayPort(*record.service), gateways);
      continue;
    }
    for (const NetworkTable::ServiceGateway& wanted : context_.networks.service_gateways())
      if (wanted.hostname == record.service->hostname &&
          context_.networks.OfCluster(id_) == wanted.network)
        AddServiceGateways(record, wanted.network, wanted.port, gateways);
  }
  return gateways;
}

void ClusterState::AddServiceGateways(const ServiceRecord& record, const model::NetworkId& network,
                                      int wanted_port,
                                      std::vector<model::NetworkGateway>& out) const {
  const model::Service& service = *record.service;
  const model::Port* port = service.FindPort(wanted_port);
  const model::Port* hbone = service.FindPort(15008);
  if (port == nullptr && hbone == nullptr) return;  // Told when the Service was read.
  const bool by_node = service.kubernetes_type == "NodePort" && record.node_selector.has_value();
  auto number = [](const model::Port* p, bool node_port) -> uint16_t {
    return p == nullptr ? 0 : static_cast<uint16_t>(node_port ? p->node_port : p->number);
  };
  for (const std::string& address : record.load_balancer)
    out.push_back({network, id_, address, number(port, false), number(hbone, false)});
  if (!by_node) return;
  for (const auto& [name, node] : nodes_)
    if (!node.external_ip.empty() && Selects(*record.node_selector, *node.labels))
      out.push_back({network, id_, node.external_ip, number(port, true), number(hbone, true)});
}

}  // namespace isthmus::registry
