#include "registry/mesh_state.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/net.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/mesh/v1alpha1/network.pb.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "registry/mesh_work.h"

namespace isthmus::registry {
namespace {

/// The mesh's discoverySelectors. One that cannot be read picks nothing, as Kubernetes has it.
std::vector<kubeapi::LabelSelector> ReadDiscovery(const istio::mesh::v1alpha1::MeshConfig& mesh) {
  std::vector<kubeapi::LabelSelector> selectors;
  for (const auto& from : mesh.discovery_selectors()) {
    Json selector = Json::object();
    for (const auto& [key, value] : from.match_labels()) selector["matchLabels"][key] = value;
    for (const auto& one : from.match_expressions()) {
      Json values = Json::array();
      for (const std::string& value : one.values()) values.push_back(value);
      selector["matchExpressions"].push_back(
          {{"key", one.key()}, {"operator", one.operator_()}, {"values", values}});
    }
    auto parsed = kubeapi::LabelSelector::FromObject(selector);
    if (parsed.ok()) {
      selectors.push_back(std::move(*parsed));
    } else {
      LOG_WARN("registry", "meshConfig.discoverySelectors: {}; the selector picks nothing",
               parsed.status().message());
      selectors.push_back(
          *kubeapi::LabelSelector::Parse("isthmus.dev/nothing,!isthmus.dev/nothing"));
    }
  }
  return selectors;
}

}  // namespace

MeshState::MeshState(Options options)
    : options_(std::move(options)),
      pool_(std::make_shared<LabelPool>()),
      mesh_(config::DefaultMeshConfig(options_.system_namespace)),
      networks_(std::make_shared<const istio::mesh::v1alpha1::MeshNetworks>()),
      cluster_local_(*mesh_, options_.domain_suffix) {
  clusters_.push_back(NewCluster(options_.config_cluster));
  snapshot_ = std::make_shared<const model::Snapshot>();
  Update();
}

MeshState::~MeshState() = default;

ClusterContext MeshState::ContextFor(const model::ClusterId& id) const {
  auto own = trust_domains_.find(id);
  return {options_.domain_suffix, options_.system_namespace,
          own == trust_domains_.end() ? mesh_->trust_domain() : own->second, network_table_,
          discovery_};
}

std::unique_ptr<ClusterState> MeshState::NewCluster(const model::ClusterId& id) const {
  return std::make_unique<ClusterState>(id, ContextFor(id), pool_);
}

void MeshState::PutCluster(std::unique_ptr<ClusterState> cluster) {
  cluster->SetContext(ContextFor(cluster->id()));
  removed_.erase(cluster->id());
  gateways_dirty_ = true;
  for (auto& held : clusters_) {
    if (held->id() != cluster->id()) continue;
    held = std::move(cluster);
    // What only the old one had must be looked at as well.
    everything_ = true;
    return;
  }
  clusters_.push_back(std::move(cluster));
}

void MeshState::RemoveCluster(const model::ClusterId& id) {
  if (id == options_.config_cluster) return;
  if (std::erase_if(clusters_, [&id](const auto& cluster) { return cluster->id() == id; }) == 0)
    return;
  trust_domains_.erase(id);
  removed_.insert(id);
  everything_ = true;
}

ClusterState* MeshState::Find(const model::ClusterId& id) {
  for (auto& cluster : clusters_)
    if (cluster->id() == id) return cluster.get();
  return nullptr;
}

const ClusterState* MeshState::Find(const model::ClusterId& id) const {
  return const_cast<MeshState*>(this)->Find(id);
}

void MeshState::ApplyConfig(const config::Kind& kind, const std::string& key, const Json* now) {
  configs_.Apply(kind, key, now);
}

void MeshState::SetMesh(config::MeshConfigPtr mesh) {
  mesh_ = std::move(mesh);
  cluster_local_ = ClusterLocalHosts(*mesh_, options_.domain_suffix);
  discovery_ = ReadDiscovery(*mesh_);
  RefreshContexts();
}

void MeshState::SetNetworks(config::MeshNetworksPtr networks) {
  networks_ = std::move(networks);
  network_table_ = NetworkTable(*networks_);
  RefreshContexts();
}

void MeshState::SetTrustDomain(const model::ClusterId& cluster, const std::string& trust_domain) {
  auto held = trust_domains_.find(cluster);
  if (trust_domain.empty() ? held == trust_domains_.end()
                           : held != trust_domains_.end() && held->second == trust_domain)
    return;
  if (trust_domain.empty())
    trust_domains_.erase(held);
  else
    trust_domains_[cluster] = trust_domain;
  RefreshContexts();
}

void MeshState::RefreshContexts() {
  for (auto& cluster : clusters_) cluster->SetContext(ContextFor(cluster->id()));
  everything_ = true;
}

void MeshState::SetResolved(const std::string& host, std::vector<std::string> addresses) {
  std::sort(addresses.begin(), addresses.end());
  auto& held = resolved_[host];
  if (held == addresses) return;
  held = std::move(addresses);
  gateways_dirty_ = true;
}

std::set<std::string> MeshState::GatewayHosts() const {
  std::set<std::string> hosts;
  for (const model::NetworkGateway& gateway : snapshot_->unresolved_gateways->all())
    if (!base::IsIpAddress(gateway.address)) hosts.insert(gateway.address);
  return hosts;
}

bool MeshState::dirty() const {
  return everything_ || gateways_dirty_ || configs_.dirty() ||
         std::any_of(clusters_.begin(), clusters_.end(), [](const auto& c) { return c->dirty(); });
}

model::ChangeSet MeshState::Update() {
  model::ChangeSet changes;
  if (!dirty()) return changes;
  Work work;
  auto next = std::make_shared<model::Snapshot>(*snapshot_);
  Gather(work);
  if (configs_.dirty() || work.everything) {
    auto dirt = configs_.TakeDirt();
    configs_.Update(lists_);
    if (dirt.kinds.contains("ServiceEntry") || work.everything) IndexEntries(work);
    changes.config_kinds = std::move(dirt.kinds);
    changes.configs = std::move(dirt.objects);
  }
  GatherEntries(work);
  changes.everything = work.everything;
  next->config_cluster = options_.config_cluster;
  next->domain_suffix = options_.domain_suffix;
  next->root_namespace = mesh_->root_namespace();
  next->mesh = mesh_;
  next->networks = networks_;
  next->configs = lists_;
  UpdateServices(work, *next, changes);
  UpdateEndpoints(work, *next, changes);
  UpdateWorkloads(work, *next, changes);
  if (work.gateways) UpdateGateways(*next, changes);
  UpdateCredentials(work, *next, changes);
  if (changes.empty()) return changes;
  ++next->version;
  snapshot_ = std::move(next);
  return changes;
}

}  // namespace isthmus::registry
