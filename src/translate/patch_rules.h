#pragma once

#include "translate/envoy_patching.h"

namespace envoy::config::cluster::v3 {
class Cluster;
}
namespace envoy::config::listener::v3 {
class Listener;
}
namespace envoy::config::route::v3 {
class RouteConfiguration;
}

namespace isthmus::translate {

/// Whether the patch's context takes in resources of that side.
bool InContext(const EnvoyPatch& patch, PatchSide side);
/// Envoy's names of filters are also known in the short form of old releases: "envoy.router".
bool SameFilterName(const std::string& asked, const std::string& name);

/// These do all patches that match to one resource; false: it is removed.
bool PatchCluster(const EnvoyPatches& patches, PatchSide side,
                  envoy::config::cluster::v3::Cluster* cluster);
bool PatchListener(const EnvoyPatches& patches, PatchSide side,
                   envoy::config::listener::v3::Listener* listener);
void PatchRouteConfiguration(const EnvoyPatches& patches, PatchSide side,
                             envoy::config::route::v3::RouteConfiguration* config);

}  // namespace isthmus::translate
