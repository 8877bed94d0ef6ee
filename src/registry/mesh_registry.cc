#include "registry/mesh_registry.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/encoding.h"
#include "base/files.h"
#include "base/log.h"
#include "base/net.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "kubeapi/json.h"
#include "kubeapi/meta.h"
#include "registry/stored_state.h"

namespace isthmus::registry {
namespace {

constexpr char kSyncStatus[] = "istiod_remote_cluster_sync_status";
constexpr char kStaleSeconds[] = "isthmus_remote_cluster_stale_seconds";

double Seconds(base::Duration duration) { return std::chrono::duration<double>(duration).count(); }

MeshState::Options StateOptions(const MeshRegistry::Options& options) {
  return {options.cluster_id, options.domain_suffix, options.system_namespace};
}

}  // namespace

/// One connection to a cluster's API server and the state that it fills.
struct MeshRegistry::Link {
  std::unique_ptr<kubeclient::Client> client;
  /// Owned here until the first sync, by the mesh from then on.
  std::unique_ptr<ClusterState> building;
  ClusterState* state = nullptr;  ///< Null once another link has taken over.
  base::Status health;
  std::unique_ptr<ClusterWatch> watch;
};

/// A remote cluster: the link in use and, while credentials change, the one that is to take its
/// place.
struct MeshRegistry::Remote {
  RemoteCluster cluster;
  std::unique_ptr<Link> active;
  std::unique_ptr<Link> next;
  std::string sync = "syncing";
  base::Status refused;  ///< Why there is no connection at all.
  bool from_store = false;
  base::Time stored_at;
  bool unsaved = false;
  base::Timer timeout;

  const base::Status& health() const {
    return active != nullptr ? active->health : next != nullptr ? next->health : refused;
  }
  /// Nothing more is to be waited for before the first snapshot.
  bool settled() const {
    return sync != "syncing" || (active == nullptr && next == nullptr) ||
           (from_store && !health().ok());
  }
};

MeshRegistry::MeshRegistry(base::Loop& loop, kubeclient::Client& own, const base::Clock& clock,
                           base::MetricRegistry& metrics, Options options, OnSnapshot on_snapshot)
    : loop_(loop),
      own_(own),
      clock_(clock),
      metrics_(metrics),
      options_(std::move(options)),
      on_snapshot_(std::move(on_snapshot)),
      mesh_(StateOptions(options_)),
      secrets_(options_.cluster_id, options_.allowed_kubeconfig_entries) {
  CountClusters();
  WatchOwn();
  if (!options_.state_folder.empty())
    save_timer_ = base::Timer::Every(loop_, options_.save_period, [this] { SaveStored(); });
  if (options_.resolve_gateways)
    resolve_timer_ =
        base::Timer::Every(loop_, options_.resolve_period, [this] { ResolveGateways(true); });
}

MeshRegistry::~MeshRegistry() {
  *alive_ = false;
  for (const auto& remote : remotes_)
    metrics_.Remove(kStaleSeconds, {{"cluster", remote->cluster.id.text()}});
  SaveStored();
}

void MeshRegistry::WatchOwn() {
  ClusterWatch::Events events;
  events.object = [this](Watched kind, const std::string& key, const Json* now) {
    mesh_.config_cluster().Apply(kind, key, now);
    Schedule();
  };
  events.config = [this](const config::Kind& kind, const std::string& key, const Json* now) {
    mesh_.ApplyConfig(kind, key, now);
    Schedule();
  };
  events.remote_secret = [this](const std::string& key, const Json* now) { ApplySecret(key, now); };
  events.mesh_config = [this](const Json* now) { ApplyMeshConfig(now); };
  events.synced = [this] {
    LOG_INFO("registry", "cluster {} synced", options_.cluster_id.text());
    Schedule();
  };
  events.health = [this](const base::Status& status) {
    if (!status.ok())
      LOG_WARN("registry", "cluster {}: {}; what it last said stays", options_.cluster_id.text(),
               status.message());
    own_health_ = status;
  };
  own_watch_ = std::make_unique<ClusterWatch>(
      loop_, own_, ClusterWatch::Options{options_.system_namespace, options_.mesh_config_map, true},
      std::move(events));
  std::vector<std::string> files;
  for (const std::string& file : {options_.mesh_file, options_.networks_file})
    if (!file.empty()) files.push_back(file);
  if (files.empty()) return;
  mesh_files_ = std::make_unique<base::FileWatcher>(loop_, files, [this] { UseMeshConfig(); });
  UseMeshConfig();
}

// ---- Remote clusters

void MeshRegistry::ApplySecret(const std::string& key, const Json* now) {
  auto count = [this](const char* event) {
    metrics_
        .AddCounter("remote_cluster_secret_events_total", "Events of remote secrets.",
                    {{"event", event}})
        .Add();
  };
  for (RemoteSecrets::Change& change : secrets_.Apply(key, now)) {
    const model::ClusterId& id = change.cluster.id;
    switch (change.what) {
      case RemoteSecrets::Change::What::kAdd:
        LOG_INFO("registry", "cluster {} added by secret {}: {}", id.text(), key,
                 change.cluster.config.server);
        AddRemote(change.cluster);
        count("add");
        break;
      case RemoteSecrets::Change::What::kUpdate:
        LOG_INFO("registry",
                 "cluster {}: new kubeconfig in secret {}; the old stays until the new has synced",
                 id.text(), key);
        Connect(*FindRemote(id), change.cluster);
        count("update");
        break;
      case RemoteSecrets::Change::What::kRemove:
        LOG_INFO("registry", "cluster {} removed: secret {} no longer names it", id.text(), key);
        RemoveRemote(id);
        count("delete");
        break;
    }
  }
  CountClusters();
  if (clusters_changed_) clusters_changed_();
  Schedule();
}

// How old what is served of a cluster is, for alerts.
void MeshRegistry::MeasureStaleness(const model::ClusterId& id) {
  metrics_.AddGaugeFunction(
      kStaleSeconds, "Seconds since the API server of a remote cluster was heard; 0 while it is.",
      {{"cluster", id.text()}}, [this, id] {
        const Remote* remote = FindRemote(id);
        return remote == nullptr ? 0 : Seconds(StaleFor(*remote));
      });
}

base::Duration MeshRegistry::StaleFor(const Remote& remote) const {
  if (remote.from_store) return clock_.Now() - remote.stored_at;
  const Link* link = remote.active != nullptr ? remote.active.get() : remote.next.get();
  return link == nullptr ? base::Duration::zero() : link->watch->stale_for();
}

MeshRegistry::Remote* MeshRegistry::FindRemote(const model::ClusterId& id) const {
  for (const auto& remote : remotes_)
    if (remote->cluster.id == id) return remote.get();
  return nullptr;
}

void MeshRegistry::AddRemote(const RemoteCluster& cluster) {
  remotes_.push_back(std::make_unique<Remote>());
  Remote& remote = *remotes_.back();
  remote.cluster = cluster;
  SetSync(remote, "syncing");
  MeasureStaleness(cluster.id);
  LoadStored(remote);
  if (options_.remote_timeout.count() > 0)
    remote.timeout = base::Timer::After(loop_, options_.remote_timeout, [this, &remote] {
      if (remote.sync != "syncing") return;
      LOG_WARN("registry", "cluster {}: not synced in time; going on without it{}",
               remote.cluster.id.text(), remote.from_store ? ", with its stored state" : "");
      SetSync(remote, "timeout");
      metrics_
          .AddCounter("remote_cluster_sync_timeouts_total",
                      "Remote clusters that did not sync in time.",
                      {{"cluster", remote.cluster.id.text()}})
          .Add();
      Schedule();
    });
  Connect(remote, cluster);
}

void MeshRegistry::RemoveRemote(const model::ClusterId& id) {
  auto held = std::find_if(remotes_.begin(), remotes_.end(),
                           [&id](const auto& remote) { return remote->cluster.id == id; });
  if (held == remotes_.end()) return;
  SetSync(**held, "");
  metrics_.Remove(kStaleSeconds, {{"cluster", id.text()}});
  remotes_.erase(held);
  mesh_.RemoveCluster(id);
  if (!options_.state_folder.empty() && options_.save_state)
    if (const base::Status status = base::RemoveFile(StateFile(id)); !status.ok())
      LOG_WARN("registry", "cluster {}: {}", id.text(), status.message());
}

void MeshRegistry::Connect(Remote& remote, const RemoteCluster& cluster) {
  auto client = kubeclient::Client::Create(loop_, cluster.config);
  if (!client.ok()) {
    LOG_WARN("registry", "cluster {}: {}", cluster.id.text(), client.status().message());
    remote.refused = client.status();
    return;
  }
  remote.cluster = cluster;
  remote.next = std::make_unique<Link>();
  Link& link = *remote.next;
  link.client = std::move(*client);
  link.building = mesh_.NewCluster(cluster.id);
  link.state = link.building.get();
  ClusterWatch::Events events;
  events.object = [this, &remote, &link](Watched kind, const std::string& key, const Json* now) {
    if (link.state == nullptr) return;
    link.state->Apply(kind, key, now);
    if (link.building != nullptr) return;
    remote.unsaved = true;
    Schedule();
  };
  events.mesh_config = [this, id = cluster.id](const Json* now) { ApplyRemoteMeshConfig(id, now); };
  events.synced = [this, &remote] { OnLinkSynced(remote); };
  events.health = [this, &remote, &link](const base::Status& status) {
    OnLinkHealth(remote, link, status);
  };
  link.watch = std::make_unique<ClusterWatch>(
      loop_, *link.client,
      ClusterWatch::Options{options_.system_namespace, options_.mesh_config_map, false},
      std::move(events));
}

void MeshRegistry::OnLinkSynced(Remote& remote) {
  if (remote.next == nullptr) return;
  LOG_INFO("registry", "cluster {} synced", remote.cluster.id.text());
  // The old link goes when the loop turns: one of its callbacks may be running.
  std::shared_ptr<Link> old = std::move(remote.active);
  if (old != nullptr) old->state = nullptr;
  remote.active = std::move(remote.next);
  mesh_.PutCluster(std::move(remote.active->building));
  loop_.Post([old] {});
  remote.from_store = false;
  remote.active->health = base::Status();
  remote.unsaved = true;
  SetSync(remote, "synced");
  if (clusters_changed_) clusters_changed_();
  Schedule();
}

void MeshRegistry::OnLinkHealth(Remote& remote, Link& link, const base::Status& status) {
  const std::string& name = remote.cluster.id.text();
  if (!status.ok()) {
    metrics_.AddCounter("controller_sync_errors_total", "Failures of watches.", {{"cluster", name}})
        .Add();
    if (link.health.ok())
      LOG_WARN("registry", "cluster {}: {}; what it last said stays", name, status.message());
  } else if (!link.health.ok()) {
    LOG_INFO("registry", "cluster {} answers again", name);
  }
  link.health = status;
  Schedule();
}

kubeclient::Client* MeshRegistry::ClientFor(const model::ClusterId& cluster) {
  if (cluster == options_.cluster_id) return &own_;
  for (const auto& remote : remotes_) {
    if (remote->cluster.id != cluster) continue;
    Link* link = remote->active ? remote->active.get() : remote->next.get();
    return link == nullptr ? nullptr : link->client.get();
  }
  return nullptr;
}

std::vector<RemoteCluster> MeshRegistry::Remotes() const {
  std::vector<RemoteCluster> clusters;
  for (const auto& remote : remotes_) clusters.push_back(remote->cluster);
  return clusters;
}

model::ClusterId MeshRegistry::KnownAs(const model::ClusterId& claimed) const {
  if (claimed == options_.cluster_id || FindRemote(claimed) != nullptr) return claimed;
  for (const auto& remote : remotes_)
    if (remote->cluster.config.cluster == claimed.text()) return remote->cluster.id;
  return claimed;
}

const kubeclient::RestConfig* MeshRegistry::ConnectionTo(const model::ClusterId& cluster) const {
  const Remote* remote = FindRemote(cluster);
  return remote == nullptr ? nullptr : &remote->cluster.config;
}

ControlPlaneOf MeshRegistry::HomeOf(const model::ClusterId& cluster) const {
  ControlPlaneOf home;
  const ClusterState* state = mesh_.Find(cluster);
  const std::string suffix = "." + options_.system_namespace + ".svc";
  std::string host = "istiod" + suffix;
  if (cluster == options_.cluster_id) {
    const std::string& address = snapshot()->mesh->default_config().discovery_address();
    if (!address.empty()) host = address.substr(0, address.rfind(':'));
  } else if (auto own = discovery_hosts_.find(cluster); own != discovery_hosts_.end()) {
    host = own->second;
  }
  if (state == nullptr || !host.ends_with(suffix)) return home;
  home.service = host.substr(0, host.size() - suffix.size());
  home.hostname = host + "." + options_.domain_suffix;
  const ServiceRecord* record = state->FindService(home.hostname);
  // A Service without a selector leads to the control plane of another cluster.
  home.present = record != nullptr && !record->service->selector.empty();
  if (!home.present) return home;
  const auto shard = state->BuildShard(home.hostname);
  home.ready = shard != nullptr && std::any_of(shard->endpoints.begin(), shard->endpoints.end(),
                                               [](const model::Endpoint& endpoint) {
                                                 return endpoint.health == model::Health::kHealthy;
                                               });
  return home;
}

model::ClusterId MeshRegistry::LeaderOf(const model::ClusterId& cluster) const {
  const ClusterState* state = mesh_.Find(cluster);
  if (cluster == options_.cluster_id || state == nullptr) return options_.cluster_id;
  if (HomeOf(cluster).present) return cluster;
  const std::vector<std::string> leaders = state->Leaders();
  if (IsLeader(leaders, options_.cluster_id.text())) return options_.cluster_id;
  for (const std::string& name : leaders)
    if (const model::ClusterId leader(name); HomeOf(leader).present) return leader;
  return options_.cluster_id;
}

std::vector<ClusterStatus> MeshRegistry::Clusters() const {
  std::vector<ClusterStatus> rows;
  auto count = [this](ClusterStatus& row) {
    const ClusterState* state = mesh_.Find(row.id);
    if (state == nullptr) return;
    row.services = state->service_count();
    row.pods = state->pod_count();
  };
  ClusterStatus own;
  own.id = options_.cluster_id;
  own.sync = own_watch_->synced() ? "synced" : "syncing";
  own.server = own_.config().server;
  own.stale = !own_health_.ok();
  own.stale_for = own_watch_->stale_for();
  own.error = own_health_.message();
  count(own);
  rows.push_back(std::move(own));
  for (const auto& remote : remotes_) {
    ClusterStatus row;
    row.id = remote->cluster.id;
    row.secret = remote->cluster.secret;
    row.sync = remote->sync;
    row.server = remote->cluster.config.server;
    row.stale = !remote->health().ok() || remote->from_store;
    row.from_store = remote->from_store;
    row.error = remote->health().message();
    if (row.error.empty() && remote->next != nullptr && remote->active != nullptr)
      row.error = remote->next->health.message();
    row.stale_for = StaleFor(*remote);
    count(row);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::map<std::string, std::string> MeshRegistry::Problems() const {
  std::map<std::string, std::string> problems = mesh_.configs().errors();
  for (const auto& [key, reason] : secrets_.errors()) problems["Secret/" + key] = reason;
  if (!mesh_problem_.empty()) problems["ConfigMap/" + options_.mesh_config_map] = mesh_problem_;
  return problems;
}

// ---- Mesh config

void MeshRegistry::ApplyMeshConfig(const Json* now) {
  map_texts_ = {};
  if (now != nullptr)
    map_texts_ = {kubeapi::StringAt(*now, {"data", "mesh"}),
                  kubeapi::StringAt(*now, {"data", "meshNetworks"})};
  UseMeshConfig();
}

void MeshRegistry::UseMeshConfig() {
  auto texts = map_texts_;
  if (auto file = base::ReadFile(options_.mesh_file); file.ok()) texts.first = std::move(*file);
  if (auto file = base::ReadFile(options_.networks_file); file.ok())
    texts.second = std::move(*file);
  const auto& [mesh_text, networks_text] = texts;
  if (mesh_texts_ == texts) return;
  mesh_texts_ = texts;
  std::vector<std::string> unknown;
  auto mesh = config::ReadMeshConfig(mesh_text, options_.system_namespace, &unknown);
  auto networks = config::ReadMeshNetworks(networks_text);
  for (const std::string& field : unknown)
    LOG_WARN("registry", "mesh config: {} is not known; skipped", field);
  mesh_problem_.clear();
  for (const base::Status& status : {mesh.status(), networks.status()}) {
    if (status.ok()) continue;
    LOG_ERROR("registry", "{}; the last good one stays in use", status.message());
    mesh_problem_ += (mesh_problem_.empty() ? "" : "; ") + status.message();
  }
  if (mesh.ok()) mesh_.SetMesh(*mesh);
  if (networks.ok()) mesh_.SetNetworks(*networks);
  Schedule();
}

void MeshRegistry::ApplyRemoteMeshConfig(const model::ClusterId& cluster, const Json* now) {
  std::string trust_domain;
  discovery_hosts_.erase(cluster);
  if (now != nullptr) {
    auto yaml = kubeapi::ParseYaml(kubeapi::StringAt(*now, {"data", "mesh"}));
    if (yaml.ok()) {
      trust_domain = kubeapi::StringAt(*yaml, {"trustDomain"});
      const std::string address = kubeapi::StringAt(*yaml, {"defaultConfig", "discoveryAddress"});
      if (!address.empty()) discovery_hosts_[cluster] = address.substr(0, address.rfind(':'));
    }
  }
  mesh_.SetTrustDomain(cluster, trust_domain);
  Schedule();
}

// ---- Stored state

std::string MeshRegistry::StateFile(const model::ClusterId& cluster) const {
  if (options_.state_folder.empty()) return {};
  const std::string& name = cluster.text();
  // Names from a Secret's keys may hold dots; they never become parts of a path.
  const bool plain = kubeapi::IsDnsSubdomain(name);
  return options_.state_folder + "/" + (plain ? name : "hex-" + base::HexEncode(name)) + ".state";
}

void MeshRegistry::LoadStored(Remote& remote) {
  if (options_.state_folder.empty()) return;
  const std::string path = StateFile(remote.cluster.id);
  auto text = base::ReadFile(path);
  if (!text.ok()) return;
  auto state = mesh_.NewCluster(remote.cluster.id);
  auto saved = LoadState(*text, *state);
  if (!saved.ok()) {
    LOG_WARN("registry", "{} {}; it is not used", path, saved.status().message());
    return;
  }
  remote.from_store = true;
  remote.stored_at = *saved;
  mesh_.PutCluster(std::move(state));
}

void MeshRegistry::SaveStored() {
  if (options_.state_folder.empty() || !options_.save_state) return;
  for (const auto& remote : remotes_) {
    if (!remote->unsaved || remote->active == nullptr) continue;
    const base::Status made = base::MakeDirs(options_.state_folder, 0700);
    const base::Status status =
        made.ok() ? base::WriteFile(StateFile(remote->cluster.id),
                                    SaveState(*remote->active->state, clock_.Now()), 0600)
                  : made;
    if (status.ok())
      remote->unsaved = false;
    else
      LOG_WARN("registry", "cluster {}: its state could not be kept: {}", remote->cluster.id.text(),
               status.message());
  }
}

// ---- Gateways with host names

void MeshRegistry::ResolveGateways(bool again) {
  const std::set<std::string> hosts = mesh_.GatewayHosts();
  std::erase_if(resolving_, [&hosts](const auto& entry) { return !hosts.contains(entry.first); });
  for (const std::string& host : hosts) {
    if (!again && resolving_.contains(host)) continue;
    resolving_[host] = base::Resolve(loop_, host, 0, [this, host](auto found) {
      if (!found.ok()) {
        // The addresses known so far stay.
        LOG_WARN("registry", "gateway {}: {}", host, found.status().message());
        return;
      }
      std::set<std::string> addresses;
      for (const base::SocketAddress& address : *found) addresses.insert(address.ip());
      mesh_.SetResolved(host, {addresses.begin(), addresses.end()});
      Schedule();
    });
  }
}

// ---- Publishing

void MeshRegistry::Schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  loop_.Post([this, alive = alive_] {
    if (*alive) Flush();
  });
}

bool MeshRegistry::Settled() const {
  return own_watch_->synced() && std::all_of(remotes_.begin(), remotes_.end(),
                                             [](const auto& remote) { return remote->settled(); });
}

std::string MeshRegistry::waiting_for() const {
  if (published_) return {};
  std::string text;
  if (!own_watch_->synced()) text = "cluster " + options_.cluster_id.text();
  for (const auto& remote : remotes_)
    if (!remote->settled())
      text += (text.empty() ? "cluster " : ", cluster ") + remote->cluster.id.text();
  return text;
}

void MeshRegistry::Flush() {
  scheduled_ = false;
  if (!published_ && !Settled()) return;
  model::ChangeSet changes = mesh_.Update();
  if (!published_) changes.everything = true;
  if (changes.empty()) return;
  published_ = true;
  if (options_.resolve_gateways) ResolveGateways(false);
  metrics_.AddGauge("pilot_services", "Hosts known to the mesh.")
      .Set(static_cast<double>(snapshot()->services->size()));
  on_snapshot_(snapshot(), changes);
}

void MeshRegistry::CountClusters() {
  const char* help = "Clusters that are watched.";
  metrics_.AddGauge("istiod_managed_clusters", help, {{"cluster_type", "local"}}).Set(1);
  metrics_.AddGauge("istiod_managed_clusters", help, {{"cluster_type", "remote"}})
      .Set(static_cast<double>(remotes_.size()));
}

void MeshRegistry::SetSync(Remote& remote, const std::string& sync) {
  remote.sync = sync;
  for (const char* status : {"synced", "syncing", "timeout", "closed"})
    metrics_
        .AddGauge(
            kSyncStatus, "1 for the state in which a remote cluster is.",
            {{"cluster", remote.cluster.id.text()}, {"cluster_type", "remote"}, {"status", status}})
        .Set(sync == status ? 1 : 0);
}

}  // namespace isthmus::registry
