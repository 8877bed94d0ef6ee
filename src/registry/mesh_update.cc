// The parts of MeshState::Update(): which hosts are touched, and their services, endpoints and
// workloads anew.
#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "base/net.h"
#include "config/visibility.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "pki/spiffe.h"
#include "registry/mesh_state.h"
#include "registry/mesh_work.h"

namespace isthmus::registry {
namespace {

/// "<hostname>/<namespace>" in its parts.
std::pair<std::string, std::string> SplitEndpointKey(const std::string& key) {
  const size_t slash = key.rfind('/');
  return {key.substr(0, slash), key.substr(slash + 1)};
}

bool SameServices(const std::vector<std::shared_ptr<const model::Service>>& a,
                  const std::vector<std::shared_ptr<const model::Service>>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x == y || *x == *y; });
}

bool SameShards(const model::ServiceEndpoints& a, const model::ServiceEndpoints& b) {
  return std::equal(a.shards.begin(), a.shards.end(), b.shards.begin(), b.shards.end(),
                    [](const auto& x, const auto& y) {
                      return x == y || (x->provider == y->provider && x->cluster == y->cluster &&
                                        x->endpoints == y->endpoints);
                    });
}

model::Visibility ToVisibility(config::ExportTo export_to) {
  return {export_to.all, std::move(export_to.namespaces)};
}

/// Copies a frozen map at the first change and not before.
template <typename Map>
class CopyOnChange {
 public:
  explicit CopyOnChange(std::shared_ptr<const Map>& frozen) : frozen_(frozen) {
    if (frozen_ == nullptr) frozen_ = std::make_shared<const Map>();
  }
  ~CopyOnChange() {
    if (copy_ != nullptr) frozen_ = std::move(copy_);
  }
  const Map& read() const { return copy_ ? *copy_ : *frozen_; }
  Map& write() {
    if (copy_ == nullptr) copy_ = std::make_shared<Map>(*frozen_);
    return *copy_;
  }

 private:
  std::shared_ptr<const Map>& frozen_;
  std::shared_ptr<Map> copy_;
};

std::string WorkloadName(const model::Workload& workload) {
  return fmt::format("{}/{}/{}", workload.cluster.text(), workload.ns, workload.name);
}

}  // namespace

void MeshState::MarkWhole(const ClusterState& cluster, Work& work) const {
  work.whole.insert(&cluster);
  work.gateways = true;
  for (const std::string& host : cluster.Hostnames()) {
    work.services.insert(host);
    const ServiceRecord* record = cluster.FindService(host);
    work.endpoints[host + "/" + record->service->ns].insert(&cluster);
  }
}

void MeshState::Gather(Work& work) {
  work.everything = std::exchange(everything_, false);
  work.gateways = std::exchange(gateways_dirty_, false);
  for (const auto& cluster : clusters_) {
    ClusterDirt dirt = cluster->TakeDirt();
    if (dirt.all || work.everything) {
      MarkWhole(*cluster, work);
      continue;
    }
    work.gateways = work.gateways || dirt.gateways;
    work.services.merge(dirt.services);
    for (const std::string& key : dirt.endpoints) work.endpoints[key].insert(cluster.get());
    work.namespaces.merge(dirt.namespaces);
    if (!dirt.workloads.empty()) work.workloads[cluster.get()] = std::move(dirt.workloads);
    if (!dirt.credentials.empty()) work.credentials[cluster.get()] = std::move(dirt.credentials);
  }
  if (work.whole.empty()) return;
  // What such a cluster had before and has no more is known only from the snapshot.
  if (snapshot_->services != nullptr)
    for (const auto& [host, services] : *snapshot_->services) work.services.insert(host);
  if (snapshot_->endpoints != nullptr)
    for (const auto& [key, endpoints] : *snapshot_->endpoints)
      work.endpoints[key].insert(work.whole.begin(), work.whole.end());
}

void MeshState::IndexEntries(Work& work) {
  std::map<std::string, std::vector<std::shared_ptr<const ServiceEntryObject>>> entries;
  std::map<std::string, std::string> addresses;
  std::set<std::string> wanting;
  for (const auto& entry : *lists_.service_entries) {
    const auto written = configs_.EntryAddresses(entry->meta.ns + "/" + entry->meta.name);
    for (const std::string& host : entry->spec.hosts()) {
      auto& list = entries[host];
      if (!list.empty() && list.back() == entry) continue;  // A host named twice.
      list.push_back(entry);
      const std::string key = host + "/" + entry->meta.ns;
      if (auto found = written.find(host); found != written.end())
        addresses.emplace(key, found->second);
      else if (WantsAutoAddress(*entry, host))
        wanting.insert(key);
    }
  }
  addresses.merge(AllocateAddresses({wanting.begin(), wanting.end()}));
  auto touch = [&work](const std::string& host, const auto& list) {
    work.services.insert(host);
    for (const auto& entry : list) work.external.insert(host + "/" + entry->meta.ns);
  };
  for (const auto& [host, list] : entries) {
    auto before = entries_.find(host);
    if (before == entries_.end() || before->second != list) touch(host, list);
  }
  for (const auto& [host, list] : entries_) {
    auto now = entries.find(host);
    if (now == entries.end() || now->second != list) touch(host, list);
  }
  for (const auto* one : {&addresses, &auto_addresses_})
    for (const auto& [key, address] : *one) {
      const auto& other = one == &addresses ? auto_addresses_ : addresses;
      auto found = other.find(key);
      if (found == other.end() || found->second != address)
        work.services.insert(SplitEndpointKey(key).first);
    }
  entries_ = std::move(entries);
  auto_addresses_ = std::move(addresses);
}

void MeshState::GatherEntries(Work& work) {
  const bool home_changed = work.whole.contains(clusters_.front().get());
  for (const auto& [host, list] : entries_) {
    if (work.everything) work.services.insert(host);
    for (const auto& entry : list) {
      const bool selects = entry->spec.has_workload_selector();
      if (work.everything || (home_changed && !selects) ||
          (selects && (!work.whole.empty() || work.namespaces.contains(entry->meta.ns))))
        work.external.insert(host + "/" + entry->meta.ns);
    }
  }
}

// ---- Services

std::shared_ptr<const model::Service> MeshState::MergeKubernetes(const std::string& host) const {
  std::vector<std::pair<const ClusterState*, const ServiceRecord*>> records;
  for (const auto& cluster : clusters_)
    if (const ServiceRecord* record = cluster->FindService(host))
      records.emplace_back(cluster.get(), record);
  if (records.empty()) return nullptr;
  const auto& [base_cluster, base] = records.front();
  model::Service merged = *base->service;
  merged.export_to = ToVisibility(
      config::ReadExportTo(base->export_to, mesh_->default_service_export_to(), merged.ns));
  merged.cluster_local = cluster_local_.Contains(host);
  if (merged.traffic_distribution.empty())
    merged.traffic_distribution = base_cluster->NamespaceTrafficDistribution(merged.ns);
  std::set<std::string> accounts;
  for (const auto& [cluster, record] : records) {
    merged.cluster_vips.insert(record->service->cluster_vips.begin(),
                               record->service->cluster_vips.end());
    accounts.insert(record->service->subject_alt_names.begin(),
                    record->service->subject_alt_names.end());
    for (const std::string& account : record->kubernetes_accounts)
      accounts.insert(pki::SpiffeId{cluster->context().trust_domain, merged.ns, account}.uri());
  }
  merged.subject_alt_names.assign(accounts.begin(), accounts.end());
  // Most services are what their one cluster says: then they are the same memory.
  if (merged == *base->service) return base->service;
  return std::make_shared<const model::Service>(std::move(merged));
}

MeshState::ServiceList MeshState::MergeHost(const std::string& host) const {
  ServiceList list;
  std::set<std::string> namespaces;
  if (auto kubernetes = MergeKubernetes(host)) {
    namespaces.insert(kubernetes->ns);
    list.push_back(std::move(kubernetes));
  }
  auto entries = entries_.find(host);
  if (entries == entries_.end()) return list;
  for (const auto& entry : entries->second) {
    // The Kubernetes service of the same namespace wins, else the oldest entry.
    if (!namespaces.insert(entry->meta.ns).second) continue;
    auto address = auto_addresses_.find(host + "/" + entry->meta.ns);
    const auto export_to = ToVisibility(config::ReadExportTo(
        entry->spec.export_to(), mesh_->default_service_export_to(), entry->meta.ns));
    for (auto& service : EntryServices(
             *entry, host, address == auto_addresses_.end() ? "" : address->second, export_to))
      list.push_back(std::move(service));
  }
  return list;
}

void MeshState::UpdateServices(const Work& work, model::Snapshot& next, model::ChangeSet& changes) {
  CopyOnChange<model::Snapshot::ServiceMap> services(next.services);
  for (const std::string& host : work.services) {
    ServiceList list = MergeHost(host);
    auto before = services.read().find(host);
    const bool known = before != services.read().end();
    if (known ? SameServices(before->second, list) : list.empty()) continue;
    changes.services.insert(host);
    if (list.empty())
      services.write().erase(host);
    else
      services.write()[host] = std::move(list);
  }
}

// ---- Endpoints

std::vector<std::shared_ptr<const MeshState::Shard>> MeshState::ExternalShards(
    const std::string& host, const std::string& ns) const {
  std::vector<std::shared_ptr<const Shard>> shards;
  auto entries = entries_.find(host);
  if (entries == entries_.end()) return shards;
  std::vector<const ClusterState*> clusters;
  for (const auto& cluster : clusters_) clusters.push_back(cluster.get());
  std::map<model::ClusterId, std::vector<model::Endpoint>> by_cluster;
  for (const auto& entry : entries->second) {
    if (entry->meta.ns != ns) continue;
    for (model::Endpoint& endpoint : EntryEndpoints(*entry, host, *clusters_.front(), clusters))
      by_cluster[endpoint.cluster].push_back(std::move(endpoint));
  }
  for (auto& [id, endpoints] : by_cluster) {
    std::stable_sort(endpoints.begin(), endpoints.end(), [](const auto& a, const auto& b) {
      return std::tie(a.address, a.port, a.port_name) < std::tie(b.address, b.port, b.port_name);
    });
    shards.push_back(std::make_shared<const Shard>(Shard{"External", id, std::move(endpoints)}));
  }
  return shards;
}

std::shared_ptr<const model::ServiceEndpoints> MeshState::MergeEndpoints(
    const std::string& key, const Work& work, const model::ServiceEndpoints* before) const {
  const auto [host, ns] = SplitEndpointKey(key);
  auto merged = std::make_shared<model::ServiceEndpoints>();
  auto reuse = [&](const std::string& provider, const model::ClusterId* cluster) {
    if (before == nullptr) return;
    for (const auto& shard : before->shards)
      if (shard->provider == provider && (cluster == nullptr || shard->cluster == *cluster))
        merged->shards.push_back(shard);
  };
  if (work.external.contains(key))
    merged->shards = ExternalShards(host, ns);
  else
    reuse("External", nullptr);
  auto touched = work.endpoints.find(key);
  for (const auto& cluster : clusters_) {
    if (touched == work.endpoints.end() || !touched->second.contains(cluster.get())) {
      reuse("Kubernetes", &cluster->id());
      continue;
    }
    const ServiceRecord* record = cluster->FindService(host);
    if (record == nullptr || record->service->ns != ns) continue;
    if (auto shard = cluster->BuildShard(host, true)) merged->shards.push_back(std::move(shard));
  }
  if (merged->shards.empty()) return nullptr;
  std::sort(merged->shards.begin(), merged->shards.end(), [](const auto& a, const auto& b) {
    return std::tie(a->provider, a->cluster) < std::tie(b->provider, b->cluster);
  });
  for (const auto& shard : merged->shards)
    for (const model::Endpoint& endpoint : shard->endpoints)
      if (!endpoint.service_account.empty())
        merged->service_accounts.insert(endpoint.service_account);
  return merged;
}

void MeshState::UpdateEndpoints(const Work& work, model::Snapshot& next,
                                model::ChangeSet& changes) {
  CopyOnChange<model::Snapshot::EndpointMap> endpoints(next.endpoints);
  std::set<std::string> keys = work.external;
  for (const auto& [key, clusters] : work.endpoints) keys.insert(key);
  static const model::ServiceEndpoints kNone;
  for (const std::string& key : keys) {
    auto held = endpoints.read().find(key);
    const model::ServiceEndpoints* before =
        held == endpoints.read().end() ? nullptr : held->second.get();
    auto merged = MergeEndpoints(key, work, before);
    if (SameShards(before ? *before : kNone, merged ? *merged : kNone)) continue;
    changes.endpoints.insert(key);
    if ((before ? *before : kNone).service_accounts != (merged ? *merged : kNone).service_accounts)
      changes.services.insert(SplitEndpointKey(key).first);
    if (merged == nullptr)
      endpoints.write().erase(key);
    else
      endpoints.write()[key] = std::move(merged);
  }
}

// ---- Workloads, gateways, credentials

void MeshState::UpdateWorkloads(const Work& work, model::Snapshot& next,
                                model::ChangeSet& changes) {
  for (const model::ClusterId& id : std::exchange(removed_, {})) {
    for (const auto& workload : next.workloads.InCluster(id))
      changes.workloads.insert(WorkloadName(*workload));
    next.workloads.RemoveCluster(id);
  }
  auto refresh = [&](const ClusterState& cluster, const std::string& key) {
    const size_t slash = key.find('/');
    const std::string ns = key.substr(0, slash);
    const std::string name = key.substr(slash + 1);
    const auto before = next.workloads.Find(cluster.id(), ns, name);
    const auto now = cluster.FindWorkload(key);
    if (before == now || (before != nullptr && now != nullptr && *before == *now)) return;
    changes.workloads.insert(fmt::format("{}/{}", cluster.id().text(), key));
    if (now == nullptr)
      next.workloads.Remove(cluster.id(), ns, name);
    else
      next.workloads.Put(now);
  };
  for (const ClusterState* cluster : work.whole) {
    for (const auto& workload : next.workloads.InCluster(cluster->id()))
      refresh(*cluster, workload->ns + "/" + workload->name);
    for (const std::string& key : cluster->WorkloadKeys()) refresh(*cluster, key);
  }
  for (const auto& [cluster, keys] : work.workloads)
    for (const std::string& key : keys) refresh(*cluster, key);
}

void MeshState::UpdateGateways(model::Snapshot& next, model::ChangeSet& changes) {
  std::vector<model::NetworkGateway> all = network_table_.fixed_gateways();
  for (const auto& cluster : clusters_)
    for (model::NetworkGateway& gateway : cluster->Gateways()) all.push_back(std::move(gateway));
  std::vector<model::NetworkGateway> resolved;
  for (const model::NetworkGateway& gateway : all) {
    if (base::IsIpAddress(gateway.address)) {
      resolved.push_back(gateway);
      continue;
    }
    auto found = resolved_.find(gateway.address);
    if (found == resolved_.end()) continue;
    for (const std::string& address : found->second) {
      resolved.push_back(gateway);
      resolved.back().address = address;
    }
  }
  auto put = [&changes](std::shared_ptr<const model::GatewayIndex>& held,
                        std::vector<model::NetworkGateway> gateways) {
    model::GatewayIndex index(std::move(gateways));
    if (held != nullptr && *held == index) return;
    held = std::make_shared<const model::GatewayIndex>(std::move(index));
    changes.gateways = true;
  };
  put(next.gateways, std::move(resolved));
  put(next.unresolved_gateways, std::move(all));
}

void MeshState::UpdateCredentials(const Work& work, model::Snapshot& next,
                                  model::ChangeSet& changes) {
  using Map = std::map<std::string, model::Credential>;
  CopyOnChange<Map> credentials(next.credentials);
  auto refresh = [&](const std::string& name, const model::Credential* now) {
    auto before = credentials.read().find(name);
    const bool known = before != credentials.read().end();
    if (now == nullptr ? !known : known && before->second == *now) return;
    changes.credentials.insert(name);
    if (now == nullptr)
      credentials.write().erase(name);
    else
      credentials.write()[name] = *now;
  };
  auto of = [](const ClusterState& cluster, const std::string& key) -> const model::Credential* {
    auto found = cluster.credentials().find(key);
    return found == cluster.credentials().end() ? nullptr : &found->second;
  };
  if (!work.whole.empty()) {
    Map all;
    for (const auto& cluster : clusters_)
      for (const auto& [key, credential] : cluster->credentials())
        all[cluster->id().text() + "/" + key] = credential;
    const Map before = credentials.read();
    for (const auto& [name, credential] : before)
      if (!all.contains(name)) refresh(name, nullptr);
    for (const auto& [name, credential] : all) refresh(name, &credential);
  }
  for (const auto& [cluster, keys] : work.credentials)
    for (const std::string& key : keys)
      refresh(cluster->id().text() + "/" + key, of(*cluster, key));
}

}  // namespace isthmus::registry
