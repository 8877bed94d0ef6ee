#include "controlplane/adoption.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/strings.h"
#include "ca/root_publisher.h"
#include "controlplane/injector_source.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"

namespace isthmus::controlplane {
namespace {

using base::Code;
using base::Error;
using kubeapi::kConfigMaps;

constexpr auto kSweepPeriod = std::chrono::seconds(5);
// Proxies that are with us though their own control plane looks ready are sent home now and then:
// we may not have seen it go. Ever less often, since some may be with us on purpose.
constexpr base::Duration kFirstTry = std::chrono::seconds(10);
constexpr base::Duration kLastTry = std::chrono::minutes(30);

}  // namespace

// Members are made in the order in which they need each other.
struct Adoption::Adopted {
  model::ClusterId cluster;
  std::string server;  // Of the connection and its token, to notice new ones.
  std::string token;
  base::MetricRegistry metrics;  // Apart from ours: the names are the same.
  std::unique_ptr<kubeclient::Client> client;
  World world;
  std::unique_ptr<registry::MeshRegistry> registry;
  std::unique_ptr<InjectorSource> injector;
  std::unique_ptr<ca::RootPublisher> roots;
  std::vector<std::function<void(World*)>> waiting;
  base::Timer patience;
  base::Time last_use;
  bool home_was_away = false;
  // While its control plane looks ready: when its proxies are sent home next, and after how long
  // again.
  base::Time home_at;
  base::Duration home_pause = kFirstTry;

  bool loaded() const { return world.mesh != nullptr; }
};

Adoption::Adoption(base::Loop& loop, const base::Clock& clock, registry::MeshRegistry& own,
                   ca::Authority& authority, AdoptionOptions options, Events events)
    : loop_(loop),
      clock_(clock),
      own_(own),
      authority_(authority),
      options_(std::move(options)),
      events_(std::move(events)),
      sweep_(base::Timer::Every(loop, kSweepPeriod, [this] { Sweep(); })) {}
Adoption::~Adoption() = default;

bool Adoption::Concerns(const model::ClusterId& cluster) const {
  return LeaderOf(cluster) != options_.registry.cluster_id;
}

const model::ClusterId& Adoption::LeaderOf(const model::ClusterId& cluster) const {
  // While we stand in for a cluster that stays so, whatever happens to its objects.
  if (auto adopted = adopted_.find(cluster); adopted != adopted_.end()) return adopted->first;
  auto at = leaders_.find(cluster);
  if (at == leaders_.end()) at = leaders_.emplace(cluster, own_.LeaderOf(cluster)).first;
  return at->second;
}

Adoption::World* Adoption::Peek(const model::ClusterId& cluster) {
  auto at = adopted_.find(LeaderOf(cluster));
  return at == adopted_.end() || !at->second->loaded() ? nullptr : &at->second->world;
}

Adoption::World* Adoption::Find(const model::ClusterId& cluster) {
  const model::ClusterId leader = LeaderOf(cluster);
  auto at = adopted_.find(leader);
  Adopted* adopted = at == adopted_.end() ? Start(leader) : at->second.get();
  if (adopted == nullptr) return nullptr;
  adopted->last_use = clock_.Now();
  if (adopted->loaded()) return &adopted->world;
  StartPatience(*adopted);
  return nullptr;
}

void Adoption::StartPatience(Adopted& adopted) {
  if (adopted.patience.active()) return;
  adopted.patience =
      base::Timer::After(loop_, options_.patience, [this, raw = &adopted] { GiveUp(*raw); });
}

Adoption::Adopted* Adoption::Start(const model::ClusterId& cluster) {
  const kubeclient::RestConfig* connection = own_.ConnectionTo(cluster);
  if (connection == nullptr) return nullptr;
  auto client = kubeclient::Client::Create(loop_, *connection);
  if (!client.ok()) {
    LOG_WARN("adoption", "cluster {}: {}", cluster.text(), client.status().message());
    return nullptr;
  }
  LOG_INFO("adoption", "cluster {}: its proxies come to us; reading its configuration",
           cluster.text());
  auto adopted = std::make_unique<Adopted>();
  adopted->cluster = cluster;
  adopted->server = connection->server;
  adopted->token = connection->token;
  adopted->client = std::move(*client);
  adopted->home_was_away = !own_.HomeOf(cluster).ready;
  adopted->home_at = clock_.Now() + kFirstTry;
  registry::MeshRegistry::Options options = options_.registry;
  options.cluster_id = cluster;
  // What we know of clusters that cannot be reached now serves here too.
  options.save_state = false;
  options.remote_timeout = options_.patience / 2;
  Adopted* raw = adopted.get();
  adopted->registry = std::make_unique<registry::MeshRegistry>(
      loop_, *adopted->client, clock_, adopted->metrics, std::move(options),
      [this, raw](std::shared_ptr<const model::Snapshot> snapshot,
                  const model::ChangeSet& changes) {
        raw->world.mesh = snapshot->mesh;
        raw->world.translator.Update(std::move(snapshot), changes);
        Loaded(*raw);
        events_.changed();
      });
  adopted->injector = std::make_unique<InjectorSource>(
      loop_, *adopted->client, "", options_.registry.system_namespace, options_.revision,
      [this, raw] { Loaded(*raw); });
  PublishRoots(*adopted);
  return adopted_.emplace(cluster, std::move(adopted)).first->second.get();
}

// New namespaces need the roots too. Where the cluster has others than we, it is not for us to say.
void Adoption::PublishRoots(Adopted& adopted) {
  adopted.client->Get(
      kConfigMaps, options_.registry.system_namespace, options_.root_config_map,
      [this, alive = std::weak_ptr<bool>(alive_), cluster = adopted.cluster,
       client = adopted.client.get()](base::Result<kubeclient::Json> roots) {
        if (alive.expired()) return;
        auto at = adopted_.find(cluster);
        if (at == adopted_.end() || at->second->client.get() != client || !roots.ok()) return;
        if (base::Trim(kubeapi::StringAt(*roots, {"data", "root-cert.pem"})) !=
            base::Trim(authority_.roots_pem()))
          return;
        at->second->roots = std::make_unique<ca::RootPublisher>(loop_, *client, authority_,
                                                                options_.root_config_map);
      });
}

void Adoption::Loaded(Adopted& adopted) {
  if (adopted.injector != nullptr) adopted.world.injector = adopted.injector->config();
  if (!adopted.loaded()) return;
  if (adopted.world.injector == nullptr) return;
  adopted.patience.Cancel();
  for (const auto& then : std::exchange(adopted.waiting, {})) then(&adopted.world);
}

void Adoption::WhenLoaded(const model::ClusterId& cluster, std::function<void(World*)> then) {
  World* world = Find(cluster);
  if (world != nullptr && world->injector != nullptr) return then(world);
  auto at = adopted_.find(LeaderOf(cluster));
  if (at == adopted_.end()) return then(nullptr);
  Adopted* adopted = at->second.get();
  adopted->waiting.push_back(std::move(then));
  StartPatience(*adopted);
}

void Adoption::GiveUp(Adopted& adopted) {
  adopted.patience.Cancel();
  for (const auto& then : std::exchange(adopted.waiting, {})) then(nullptr);
  if (adopted.loaded()) return;
  std::string why = "its API server does not answer";
  for (const registry::ClusterStatus& status : adopted.registry->Clusters())
    if (status.id == adopted.cluster && !status.error.empty()) why = status.error;
  LOG_WARN("adoption", "cluster {}: {}; its proxies keep what they have", adopted.cluster.text(),
           why);
  events_.release(adopted.cluster,
                  Error(Code::kUnavailable, "the configuration of cluster {} cannot be read: {}",
                        adopted.cluster.text(), why));
}

void Adoption::Check() {
  leaders_.clear();
  for (const auto& [cluster, adopted] : adopted_) {
    const bool ready = own_.HomeOf(cluster).ready;
    if (ready == !adopted->home_was_away) continue;
    adopted->home_was_away = !ready;
    adopted->home_pause = kFirstTry;
    if (ready) SendHome(*adopted);
  }
}

void Adoption::SendHome(Adopted& adopted) {
  adopted.home_at = clock_.Now() + adopted.home_pause;
  adopted.home_pause = std::min(adopted.home_pause * 4, kLastTry);
  if (!events_.in_use(adopted.cluster)) return;
  LOG_INFO("adoption", "cluster {}: its control plane is there; its proxies go home",
           adopted.cluster.text());
  events_.release(
      adopted.cluster,
      Error(Code::kUnavailable, "the control plane of cluster {} is back", adopted.cluster.text()));
}

void Adoption::Sweep() {
  leaders_.clear();  // A namespace may name another leader without a new snapshot.
  const base::Time now = clock_.Now();
  std::erase_if(adopted_, [&](const auto& entry) {
    const auto& [cluster, adopted] = entry;
    const kubeclient::RestConfig* connection = own_.ConnectionTo(cluster);
    const bool other = connection == nullptr || connection->server != adopted->server ||
                       connection->token != adopted->token;
    // With other credentials it is read anew; who is connected stays, with what it has.
    if (other && adopted->waiting.empty()) return true;
    if (events_.in_use(cluster)) adopted->last_use = now;
    if (!adopted->home_was_away && now >= adopted->home_at) SendHome(*adopted);
    if (!adopted->waiting.empty() || now - adopted->last_use < options_.keep) return false;
    LOG_INFO("adoption", "cluster {}: nobody needs us for it any more", cluster.text());
    return true;
  });
}

std::vector<std::string> Adoption::Clusters() const {
  std::vector<std::string> names;
  for (const auto& [cluster, adopted] : adopted_) names.push_back(cluster.text());
  return names;
}

}  // namespace isthmus::controlplane
