#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/object.h"
#include "model/service.h"
#include "model/snapshot.h"
#include "registry/cluster_state.h"

namespace isthmus::registry {

using ServiceEntryObject = config::Object<istio::networking::v1::ServiceEntry>;

/// The services that one host of an entry stands for: one for each address, or one without.
/// `auto_address` is the one allocated for the host, or "".
std::vector<std::shared_ptr<const model::Service>> EntryServices(
    const ServiceEntryObject& entry, const std::string& host, const std::string& auto_address,
    const model::Visibility& export_to);

/// The endpoints that an entry gives to one of its hosts. Inline endpoints are placed as endpoints
/// of `home`, the config cluster; selected ones belong to their own clusters.
std::vector<model::Endpoint> EntryEndpoints(const ServiceEntryObject& entry,
                                            const std::string& host, const ClusterState& home,
                                            const std::vector<const ClusterState*>& clusters);

/// Whether an address is to be allocated for the host.
bool WantsAutoAddress(const ServiceEntryObject& entry, const std::string& host);

/// Gives each of the keys ("<host>/<namespace>", sorted) an address of 240.240.0.0/16. Depends on
/// nothing but the set, so that every control plane of a mesh comes to the same.
std::map<std::string, std::string> AllocateAddresses(const std::vector<std::string>& keys);

}  // namespace isthmus::registry
