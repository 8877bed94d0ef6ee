#pragma once

#include <string>

#include "inject/pod.h"

namespace isthmus::inject {

inline constexpr int kProxyUid = 1337;
inline constexpr int kProxyGid = 1337;

enum class ProxyRole { kSidecar, kGateway };
/// The container istio-proxy with its arguments, environment, probes, limits and mounts.
Json ProxyContainer(const Job& job, ProxyRole role);

std::string ProxyImage(const Job& job);
Json ProxyResources(const Job& job);

}  // namespace isthmus::inject
