#include "translate/peer_authentication.h"

#include "istio/security/v1/peer_authentication.pb.h"
#include "translate/proxy_class.h"

namespace isthmus::translate {
namespace {

using Policy = istio::security::v1::PeerAuthentication;

MtlsMode Read(const Policy::MutualTLS& mtls, MtlsMode inherited) {
  switch (mtls.mode()) {
    case Policy::MutualTLS::DISABLE:
      return MtlsMode::kDisable;
    case Policy::MutualTLS::PERMISSIVE:
      return MtlsMode::kPermissive;
    case Policy::MutualTLS::STRICT:
      return MtlsMode::kStrict;
    default:
      return inherited;
  }
}

}  // namespace

MtlsMode WorkloadMtls::For(int target_port) const {
  auto found = ports.find(target_port);
  return found == ports.end() ? mode : found->second;
}

PeerAuthenticationIndex::PeerAuthenticationIndex(const model::Configs& configs,
                                                 std::string root_namespace)
    : held_(configs.peer_authentications) {
  if (held_ == nullptr) return;
  std::map<std::string, const Policy*> oldest;
  for (const auto& object : *held_) {
    const bool selects =
        object->spec.has_selector() && !object->spec.selector().match_labels().empty();
    if (!selects) {
      oldest.emplace(object->meta.ns, &object->spec);
    } else if (object->meta.ns != root_namespace) {
      workloads_[object->meta.ns].push_back(&object->spec);
    }
  }
  if (auto root = oldest.find(root_namespace); root != oldest.end()) {
    mesh_ = Read(root->second->mtls(), MtlsMode::kPermissive);
  }
  for (const auto& [ns, policy] : oldest) namespaces_[ns] = Read(policy->mtls(), mesh_);
}

MtlsMode PeerAuthenticationIndex::ForNamespace(const std::string& ns) const {
  auto found = namespaces_.find(ns);
  return found == namespaces_.end() ? mesh_ : found->second;
}

WorkloadMtls PeerAuthenticationIndex::ForWorkload(const std::string& ns,
                                                  const model::Labels& labels) const {
  WorkloadMtls result{ForNamespace(ns), {}};
  auto found = workloads_.find(ns);
  if (found == workloads_.end()) return result;
  for (const Policy* policy : found->second) {
    if (!SelectsMap(policy->selector().match_labels(), labels)) continue;
    result.mode = Read(policy->mtls(), result.mode);
    for (const auto& [port, mtls] : policy->port_level_mtls()) {
      result.ports[static_cast<int>(port)] = Read(mtls, result.mode);
    }
    break;
  }
  return result;
}

bool PeerAuthenticationIndex::Disabled(const model::Endpoint& endpoint) const {
  if (!workloads_.contains(endpoint.ns)) return ForNamespace(endpoint.ns) == MtlsMode::kDisable;
  return ForWorkload(endpoint.ns, *endpoint.labels).For(endpoint.port) == MtlsMode::kDisable;
}

}  // namespace isthmus::translate
