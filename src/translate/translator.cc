#include "translate/translator.h"

#include <deque>
#include <map>
#include <string>
#include <unordered_map>

#include "translate/class_view.h"
#include "translate/inbound.h"
#include "translate/mesh_trust.h"
#include "translate/names.h"
#include "translate/world.h"

namespace isthmus::translate {
namespace {

/// Changes are kept one by one for classes that have not asked yet, up to this many; older classes
/// start anew.
constexpr size_t kKeptChanges = 256;
/// A class that nobody asked for during so many updates is dropped.
constexpr uint64_t kIdleUpdates = 64;

struct ClassState {
  explicit ClassState(ProxyClass proxy, Workshop* workshop) : view(std::move(proxy), workshop) {}
  ClassView view;
  uint64_t updated = 0;  ///< The update that the view is of.
  uint64_t asked = 0;    ///< The update at which a proxy last asked.
};

struct ProxyState {
  uint64_t updated = 0;
  std::shared_ptr<const World> world;  ///< At `updated`.
  std::shared_ptr<const model::Workload> workload;
  std::shared_ptr<ClassState> in_class;
  std::shared_ptr<const InboundPart> inbound;
  std::shared_ptr<const model::View> view;
};

std::string Identity(const model::Proxy& proxy) {
  std::string text = std::to_string(static_cast<int>(proxy.type)) + "~" + proxy.id + "~" +
                     proxy.cluster.text() + "~" + proxy.network.text() + "~" + proxy.ns + "~" +
                     proxy.locality.text() + "~" + proxy.node_name + "~" +
                     std::to_string(static_cast<int>(proxy.interception)) +
                     (proxy.dns_capture ? "d" : "-") + (proxy.unprivileged ? "u" : "-") +
                     (proxy.http10 ? "h" : "-");
  for (const std::string& address : proxy.addresses) text += "~" + address;
  for (const model::NetworkId& network : proxy.network_view) text += "^" + network.text();
  for (const auto& [key, value] : proxy.labels) text += "," + key + "=" + value;
  return text;
}

}  // namespace

struct Translator::State {
  Workshop workshop;
  std::shared_ptr<const World> world;
  uint64_t update = 0;
  std::deque<model::ChangeSet> changes;  ///< The last is that of `update`.
  std::map<ProxyClass, std::shared_ptr<ClassState>> classes;
  std::unordered_map<std::string, ProxyState> proxies;
  /// Views of this update, by class and own part.
  using Parts = std::pair<std::shared_ptr<ClassState>, std::shared_ptr<const InboundPart>>;
  std::map<Parts, std::shared_ptr<const model::View>> views;
  ClassView::Set trust;  ///< The same for all; null when there is nothing to tell.

  void UpdateTrust();
  std::shared_ptr<ClassState> Class(const ProxyClass& proxy);
  std::shared_ptr<const model::View> Compose(const Parts& parts);
};

void Translator::State::UpdateTrust() {
  const auto resource = BuildMeshTrust(*world->mesh);
  trust =
      resource == nullptr ? nullptr : workshop.sets.Intern({workshop.interned.Intern(resource)});
}

std::shared_ptr<ClassState> Translator::State::Class(const ProxyClass& proxy) {
  auto& entry = classes[proxy];
  if (entry == nullptr) entry = std::make_shared<ClassState>(proxy, &workshop);
  entry->asked = update;
  if (entry->updated == update) return entry;
  model::ChangeSet merged;
  const uint64_t behind = update - entry->updated;
  if (behind > changes.size()) {
    merged.everything = true;
  } else {
    for (size_t i = changes.size() - behind; i < changes.size(); ++i) merged.Merge(changes[i]);
  }
  entry->view.Update(world, merged);
  entry->updated = update;
  return entry;
}

std::shared_ptr<const model::View> Translator::State::Compose(const Parts& parts) {
  auto& view = views[parts];
  if (view != nullptr) return view;
  const auto& [outbound, inbound] = parts;
  auto fresh = std::make_shared<model::View>();
  fresh->version = world->snapshot->version;
  const ClassView::Sets& sets = outbound->view.sets();
  auto add = [&](std::string_view type, const ClassView::Set& set) {
    if (set != nullptr) fresh->types[std::string(type)].push_back(set);
  };
  add(kClusterType, sets.clusters);
  for (const ClassView::Set& set : sets.endpoints) add(kEndpointType, set);
  add(kListenerType, sets.listeners);
  add(kRouteType, sets.routes);
  add(kSecretType, sets.secrets);
  add(kNameTableType, sets.names);
  add(kMeshTrustType, trust);
  if (inbound != nullptr) {
    add(kClusterType, inbound->clusters);
    add(kListenerType, inbound->listeners);
  }
  view = std::move(fresh);
  return view;
}

Translator::Translator() : state_(std::make_unique<State>()) {}
Translator::~Translator() = default;

void Translator::Update(std::shared_ptr<const model::Snapshot> snapshot,
                        const model::ChangeSet& changes) {
  State& state = *state_;
  const auto mesh_before = state.world == nullptr ? nullptr : state.world->mesh;
  state.world = BuildWorld(std::move(snapshot), state.world.get());
  if (state.world->mesh != mesh_before) state.UpdateTrust();
  ++state.update;
  state.changes.push_back(changes);
  if (state.changes.size() > kKeptChanges) state.changes.pop_front();
  state.views.clear();
  std::erase_if(state.classes, [&](const auto& entry) {
    return entry.second->asked + kIdleUpdates < state.update;
  });
  std::erase_if(state.proxies, [&](const auto& entry) {
    return entry.second.updated + kIdleUpdates < state.update;
  });
  state.workshop.memo.Sweep();
  state.workshop.interned.Sweep();
  state.workshop.sets.Sweep();
}

std::shared_ptr<const model::View> Translator::ViewFor(const model::Proxy& proxy) {
  State& state = *state_;
  if (state.world == nullptr) return nullptr;
  ProxyState& entry = state.proxies[Identity(proxy)];
  if (entry.updated == state.update) return entry.view;
  const World& world = *state.world;
  const auto workload = WorkloadOf(world, proxy);
  const bool same =
      entry.world != nullptr && SameShape(*entry.world, world) && entry.workload == workload;
  const bool sidecar = proxy.type == model::ProxyType::kSidecar;
  if (same) {
    entry.in_class = state.Class(entry.in_class->view.proxy());
  }
  if (!same || (sidecar && entry.inbound->reads_endpoints)) {
    const model::Labels labels = LabelsOf(world, proxy, workload.get());
    entry.in_class = state.Class(ClassOf(world, proxy, workload.get(), labels));
    entry.inbound = sidecar ? InboundOf(world, proxy, labels, &state.workshop) : nullptr;
  }
  entry.workload = workload;
  entry.world = state.world;
  entry.view = state.Compose({entry.in_class, entry.inbound});
  entry.updated = state.update;
  return entry.view;
}

void Translator::Forget(const model::Proxy& proxy) { state_->proxies.erase(Identity(proxy)); }

Translator::Stats Translator::stats() const {
  return {state_->classes.size(), state_->proxies.size(), state_->workshop.memo.built(),
          state_->workshop.memo.size()};
}

}  // namespace isthmus::translate
