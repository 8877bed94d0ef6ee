#include <algorithm>

#include "base/strings.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "translate/pack.h"
#include "translate/patch_list.h"

namespace isthmus::translate {
namespace {

using envoy::config::listener::v3::Filter;
using envoy::config::listener::v3::FilterChain;
using envoy::config::listener::v3::Listener;
using envoy::config::listener::v3::ListenerFilter;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
using istio::networking::v1::EnvoyFilter;
using Patch = EnvoyFilter::Patch;

constexpr char kManager[] = "envoy.filters.network.http_connection_manager";
constexpr char kVirtualInbound[] = "virtualInbound";

/// One run over a listener.
class ListenerPatcher {
 public:
  ListenerPatcher(const EnvoyPatches& patches, PatchSide side, Listener* listener)
      : patches_(patches), side_(side), listener_(listener) {}

  bool Run() {
    for (const EnvoyPatch* patch : Of(EnvoyFilter::LISTENER)) {
      if (patch->spec->patch().operation() == Patch::REMOVE) return false;
      if (patch->spec->patch().operation() == Patch::MERGE) MergeMessage(*patch->value, listener_);
    }
    PatchListenerFilters();
    const bool had_chains =
        listener_->filter_chains_size() > 0 || listener_->has_default_filter_chain();
    AddChains();
    for (int i = 0; i < listener_->filter_chains_size(); ++i) {
      if (!PatchChain(listener_->mutable_filter_chains(i)))
        listener_->mutable_filter_chains()->DeleteSubrange(i--, 1);
    }
    if (listener_->has_default_filter_chain() &&
        !PatchChain(listener_->mutable_default_filter_chain()))
      listener_->clear_default_filter_chain();
    // Envoy refuses a listener without any chain.
    return !had_chains || listener_->filter_chains_size() > 0 ||
           listener_->has_default_filter_chain();
  }

 private:
  /// The patches of a target that match this listener.
  std::vector<const EnvoyPatch*> Of(EnvoyFilter::ApplyTo target) const {
    std::vector<const EnvoyPatch*> result;
    for (const auto& patch : patches_)
      if (patch->spec->apply_to() == target && InContext(*patch, side_) && MatchesListener(*patch))
        result.push_back(patch.get());
    return result;
  }

  bool MatchesListener(const EnvoyPatch& patch) const {
    const auto& match = patch.spec->match();
    if (match.object_types_case() == EnvoyFilter::EnvoyConfigObjectMatch::OBJECT_TYPES_NOT_SET)
      return true;
    if (!match.has_listener()) return false;
    const auto& wanted = match.listener();
    if (!wanted.name().empty() && wanted.name() != listener_->name()) return false;
    // All inbound ports share one listener, whose chains know them.
    if (listener_->name() == kVirtualInbound || wanted.port_number() == 0) return true;
    return listener_->address().socket_address().port_value() == wanted.port_number();
  }

  bool MatchesChain(const EnvoyPatch& patch, const FilterChain& chain) const {
    if (!patch.spec->match().has_listener()) return true;
    const auto& wanted = patch.spec->match().listener();
    const auto& match = chain.filter_chain_match();
    if (listener_->name() == kVirtualInbound && wanted.port_number() > 0 &&
        match.destination_port().value() != wanted.port_number()) {
      return false;
    }
    const auto& rules = wanted.filter_chain();
    auto has = [](const auto& list, const auto& text) {
      return std::find(list.begin(), list.end(), text) != list.end();
    };
    if (!rules.name().empty() && rules.name() != chain.name()) return false;
    if (!rules.sni().empty() && !has(match.server_names(), rules.sni())) return false;
    if (!rules.transport_protocol().empty() &&
        rules.transport_protocol() != match.transport_protocol())
      return false;
    if (rules.destination_port() > 0 &&
        match.destination_port().value() != rules.destination_port())
      return false;
    for (const std::string& protocol : base::SplitList(rules.application_protocols()))
      if (!has(match.application_protocols(), protocol)) return false;
    return true;
  }

  void PatchListenerFilters() {
    std::vector<ListPatch> patches;
    for (const EnvoyPatch* patch : Of(EnvoyFilter::LISTENER_FILTER))
      patches.push_back({patch, patch->spec->match().listener().listener_filter()});
    PatchList<ListenerFilter>(
        patches,
        [](const ListPatch& patch, const ListenerFilter& filter) { return Named(patch, filter); },
        0, listener_->mutable_listener_filters());
  }

  void AddChains() {
    for (const EnvoyPatch* patch : Of(EnvoyFilter::FILTER_CHAIN)) {
      const Patch::Operation operation = patch->spec->patch().operation();
      if (operation == Patch::MERGE || operation == Patch::REMOVE || operation == Patch::REPLACE)
        continue;
      *listener_->add_filter_chains() = static_cast<const FilterChain&>(*patch->value);
    }
  }

  bool PatchChain(FilterChain* chain) {
    for (const EnvoyPatch* patch : Of(EnvoyFilter::FILTER_CHAIN)) {
      if (!MatchesChain(*patch, *chain)) continue;
      if (patch->spec->patch().operation() == Patch::REMOVE) return false;
      if (patch->spec->patch().operation() == Patch::MERGE) MergeMessage(*patch->value, chain);
    }
    std::vector<ListPatch> patches;
    for (const EnvoyPatch* patch : Of(EnvoyFilter::NETWORK_FILTER))
      if (MatchesChain(*patch, *chain))
        patches.push_back({patch, patch->spec->match().listener().filter_chain().filter().name()});
    if (!patches.empty()) {
      PatchList<Filter>(
          patches,
          [](const ListPatch& patch, const Filter& filter) { return Named(patch, filter); }, 1,
          chain->mutable_filters());
    }
    for (Filter& filter : *chain->mutable_filters())
      if (filter.name() == kManager) PatchManager(*chain, &filter);
    return true;
  }

  void PatchManager(const FilterChain& chain, Filter* filter) {
    std::vector<ListPatch> patches;
    for (const EnvoyPatch* patch : Of(EnvoyFilter::HTTP_FILTER)) {
      const auto& wanted = patch->spec->match().listener().filter_chain().filter();
      if (!MatchesChain(*patch, chain)) continue;
      if (!wanted.name().empty() && !SameFilterName(wanted.name(), kManager)) continue;
      patches.push_back({patch, wanted.sub_filter().name()});
    }
    const bool routes = side_ == PatchSide::kInbound;
    if (patches.empty() && !routes) return;
    HttpConnectionManager manager;
    if (!manager.ParseFromString(filter->typed_config().value())) return;
    // The router ends every chain, and Envoy takes nothing after it.
    PatchList<HttpFilter>(
        patches, [](const ListPatch& patch, const HttpFilter& one) { return Named(patch, one); }, 1,
        manager.mutable_http_filters());
    if (routes && manager.has_route_config())
      PatchRouteConfiguration(patches_, side_, manager.mutable_route_config());
    Pack(manager, filter->mutable_typed_config());
  }

  /// By the name that the match gives, else by that of the value; with neither, any.
  template <typename T>
  static bool Named(const ListPatch& patch, const T& filter) {
    std::string name = patch.name;
    if (name.empty() && patch.patch->value != nullptr)
      name = static_cast<const T&>(*patch.patch->value).name();
    return name.empty() || SameFilterName(name, filter.name());
  }

  const EnvoyPatches& patches_;
  const PatchSide side_;
  Listener* const listener_;
};

}  // namespace

bool SameFilterName(const std::string& asked, const std::string& name) {
  if (asked == name) return true;
  auto last = [](const std::string& text) { return text.substr(text.rfind('.') + 1); };
  const bool old = asked.starts_with("envoy.") && std::count(asked.begin(), asked.end(), '.') == 1;
  return old && name.starts_with("envoy.filters.") && last(asked) == last(name);
}

bool PatchListener(const EnvoyPatches& patches, PatchSide side, Listener* listener) {
  return ListenerPatcher(patches, side, listener).Run();
}

}  // namespace isthmus::translate
