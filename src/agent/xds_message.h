#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace isthmus::agent {

inline constexpr std::string_view kClusterType =
    "type.googleapis.com/envoy.config.cluster.v3.Cluster";
inline constexpr std::string_view kListenerType =
    "type.googleapis.com/envoy.config.listener.v3.Listener";
inline constexpr std::string_view kSecretType =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
inline constexpr std::string_view kNameTableType =
    "type.googleapis.com/istio.networking.nds.v1.NameTable";
inline constexpr std::string_view kMeshTrustType =
    "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";

/// The two forms of xDS.
enum class XdsForm { kDelta, kStateOfTheWorld };

/// What the agent reads of a (delta) discovery request; views into the message.
struct XdsRequest {
  std::string_view type_url;
  std::string_view nonce;
  bool rejected = false;
  std::string_view error;  ///< The message of error_detail.
  std::vector<std::string_view>
      names;  ///< Subscribed to (delta), or all wanted (state of the world).
  std::vector<std::string_view> unsubscribe;  ///< Delta only.
  std::vector<std::string_view> had;          ///< Names in initial_resource_versions; delta only.
};
base::Result<XdsRequest> ParseXdsRequest(XdsForm form, std::string_view message);

struct XdsResource {
  std::string_view name;
  std::string_view version;
  std::string_view any;    ///< A serialised google.protobuf.Any.
  std::string_view whole;  ///< The serialised Resource; delta only.
};
/// What the agent reads of a (delta) discovery response; views into the message.
struct XdsResponse {
  std::string_view type_url;
  std::string_view nonce;
  std::vector<XdsResource> resources;
  std::vector<std::string_view> removed;
};
base::Result<XdsResponse> ParseXdsResponse(XdsForm form, std::string_view message);
/// Only type_url and nonce: enough to forward.
base::Result<XdsResponse> ParseXdsResponseHead(XdsForm form, std::string_view message);

/// The value of a serialised google.protobuf.Any.
std::string_view AnyValue(std::string_view any);
std::string MakeAny(std::string_view type_url, std::string_view value);

/// A request of the agent's own: the first one, or the answer to `nonce`; a non-empty `error`
/// rejects.
std::string MakeXdsRequest(XdsForm form, std::string_view type_url, std::string_view nonce,
                           std::string_view version, std::string_view error,
                           const std::vector<std::string>& names = {});
/// `wholes` are serialised Resources (delta), or Anys (state of the world).
std::string MakeXdsResponse(XdsForm form, std::string_view type_url, std::string_view nonce,
                            std::string_view version, const std::vector<std::string>& wholes,
                            const std::vector<std::string>& removed = {});
std::string MakeResource(std::string_view name, std::string_view version, std::string_view any);

/// An envoy.config.core.v3.DataSource of inline bytes, serialised.
std::string InlineBytes(std::string_view bytes);

}  // namespace isthmus::agent
