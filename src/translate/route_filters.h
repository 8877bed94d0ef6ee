#pragma once

namespace envoy::config::route::v3 {
class Route;
}
namespace envoy::type::v3 {
class FractionalPercent;
}
namespace istio::networking::v1 {
class HTTPRoute;
}

namespace isthmus::translate {

/// Faults and cross-origin rules of a route.
void WriteRouteFilters(const istio::networking::v1::HTTPRoute& from,
                       envoy::config::route::v3::Route* route);
/// The route leads to hosts that choose their own protocols: those of the mesh are not offered to
/// them.
void KeepOwnAlpn(envoy::config::route::v3::Route* route);
/// From 0 to 100, to a millionth.
void WriteFraction(double percent, envoy::type::v3::FractionalPercent* out);

}  // namespace isthmus::translate
