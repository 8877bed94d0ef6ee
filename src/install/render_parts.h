#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "install/operator.h"

namespace isthmus::install {

// What render.cc puts together; each makes the objects of one noun.

std::vector<Json> RenderDefinitions(const Installation& installation);
std::vector<Json> RenderIstiodAccess(const Installation& installation);
std::vector<Json> RenderConfigMaps(const Installation& installation);
std::vector<Json> RenderWebhooks(const Installation& installation);
base::Result<std::vector<Json>> RenderIstiod(const Installation& installation);
/// Service and EndpointSlice (or ExternalName) that lead to the control plane of another cluster.
std::vector<Json> RenderRemoteDiscovery(const Installation& installation);
/// One gateway; `gateway` is the element of components.ingressGateways or egressGateways.
base::Result<std::vector<Json>> RenderGateway(const Installation& installation, const Json& gateway,
                                              bool ingress);
/// Whether istio-ingressgateway also leads other clusters to istiod (values.global.meshExpansion).
bool ExpandsMesh(const Installation& installation);
/// The Gateway and routes that do so.
std::vector<Json> RenderExpansion(const Installation& installation);
/// Lays `k8s` of a component over its rendered objects. `container` is the one that env and
/// resources go to.
base::Status ApplyKubernetesOverrides(const Json& k8s, const std::string& container,
                                      std::vector<Json>& objects);

/// apiVersion, kind, metadata of an object with the labels that all of an installation carry.
Json NewObject(const Installation& installation, std::string_view api_version,
               std::string_view kind, std::string_view name, bool namespaced);
/// "-REVISION", or "" for the default one.
std::string Suffix(const Installation& installation);
/// The rules of manifests/rbac.yaml under `key`.
Json RbacRules(std::string_view key);
/// "hub/image:tag" with the variant, as values.global and the component's own hub and tag say.
std::string ImageName(const Installation& installation, std::string_view image,
                      const Json* component);
/// An environment variable of a container: a value, or a field of its pod.
Json Env(std::string_view name, std::string_view value);
Json FieldEnv(std::string_view name, std::string_view path);
/// A value of the install file as text: strings as they are, others as JSON.
std::string Text(const Json& value);
Json Role(Json object, Json rules);
Json Binding(Json object, std::string_view role_kind, std::string_view role,
             std::string_view account, const std::string& ns);

}  // namespace isthmus::install
