#include "translate/envoy_patching.h"

#include <google/protobuf/any.pb.h>

#include <functional>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/patch_rules.h"

namespace isthmus::translate {
namespace {

using istio::networking::v1::EnvoyFilter;
using Patch = EnvoyFilter::Patch;

/// A resource after patching; null when it was removed.
struct Patched {
  std::shared_ptr<const model::Resource> resource;
};

bool Touches(const EnvoyPatches& patches, PatchSide side,
             std::initializer_list<EnvoyFilter::ApplyTo> targets) {
  for (const auto& patch : patches)
    for (EnvoyFilter::ApplyTo target : targets)
      if (patch->spec->apply_to() == target && InContext(*patch, side)) return true;
  return false;
}

/// Runs `change(message)` (false: remove it) on each resource, then appends what is added.
template <typename T, typename Change>
Resources PatchAll(std::string_view what, std::string_view type, EnvoyFilter::ApplyTo whole,
                   const EnvoyPatchesPtr& patches, PatchSide side, Resources resources,
                   Workshop* workshop, KeptParts* kept, const Change& change) {
  Resources result;
  result.reserve(resources.size());
  for (auto& resource : resources) {
    MemoKey key(what);
    key.Add(resource).Add(patches).Add(side);
    auto patched = workshop->memo.Get<Patched>(key, [&] {
      auto made = std::make_shared<Patched>();
      google::protobuf::Any any;
      T message;
      if (!any.ParseFromArray(resource->any.data(), static_cast<int>(resource->any.size())) ||
          !message.ParseFromString(any.value())) {
        made->resource = resource;
      } else if (change(&message)) {
        made->resource = workshop->interned.Intern(MakeResource(message.name(), type, message));
      }
      return std::shared_ptr<const Patched>(std::move(made));
    });
    if (patched->resource != nullptr) result.push_back(patched->resource);
    kept->push_back(std::move(patched));
  }
  for (const auto& patch : *patches) {
    if (patch->spec->apply_to() != whole || patch->value == nullptr || !InContext(*patch, side))
      continue;
    const Patch::Operation operation = patch->spec->patch().operation();
    if (operation == Patch::MERGE || operation == Patch::REPLACE) continue;
    // What is for every context is added once, on the way out.
    if (side == PatchSide::kInbound && patch->spec->match().context() == EnvoyFilter::ANY) continue;
    const T& added = static_cast<const T&>(*patch->value);
    const bool twice = added.name().empty() ||
                       std::any_of(result.begin(), result.end(), [&](const auto& resource) {
                         return resource->name == added.name();
                       });
    if (!twice)
      result.push_back(workshop->interned.Intern(MakeResource(added.name(), type, added)));
  }
  return result;
}

}  // namespace

Resources PatchClusters(const EnvoyPatchesPtr& patches, PatchSide side, Resources clusters,
                        Workshop* workshop, KeptParts* kept) {
  if (patches == nullptr || !Touches(*patches, side, {EnvoyFilter::CLUSTER})) return clusters;
  using envoy::config::cluster::v3::Cluster;
  return PatchAll<Cluster>("patched cluster", kClusterType, EnvoyFilter::CLUSTER, patches, side,
                           std::move(clusters), workshop, kept,
                           [&](Cluster* cluster) { return PatchCluster(*patches, side, cluster); });
}

Resources PatchListeners(const EnvoyPatchesPtr& patches, PatchSide side, Resources listeners,
                         Workshop* workshop, KeptParts* kept) {
  using F = EnvoyFilter;
  const bool inline_routes = side == PatchSide::kInbound;
  if (patches == nullptr ||
      !(Touches(*patches, side,
                {F::LISTENER, F::FILTER_CHAIN, F::NETWORK_FILTER, F::HTTP_FILTER,
                 F::LISTENER_FILTER}) ||
        (inline_routes &&
         Touches(*patches, side, {F::ROUTE_CONFIGURATION, F::VIRTUAL_HOST, F::HTTP_ROUTE})))) {
    return listeners;
  }
  using envoy::config::listener::v3::Listener;
  return PatchAll<Listener>(
      "patched listener", kListenerType, F::LISTENER, patches, side, std::move(listeners), workshop,
      kept, [&](Listener* listener) { return PatchListener(*patches, side, listener); });
}

Resources PatchRoutes(const EnvoyPatchesPtr& patches, PatchSide side, Resources routes,
                      Workshop* workshop, KeptParts* kept) {
  using F = EnvoyFilter;
  if (patches == nullptr ||
      !Touches(*patches, side, {F::ROUTE_CONFIGURATION, F::VIRTUAL_HOST, F::HTTP_ROUTE})) {
    return routes;
  }
  using envoy::config::route::v3::RouteConfiguration;
  // A route configuration is asked for by name, so none is added.
  return PatchAll<RouteConfiguration>("patched routes", kRouteType, F::INVALID, patches, side,
                                      std::move(routes), workshop, kept,
                                      [&](RouteConfiguration* config) {
                                        PatchRouteConfiguration(*patches, side, config);
                                        return true;
                                      });
}

}  // namespace isthmus::translate
