#pragma once

#include "ads/server.h"
#include "kubeapi/json.h"
#include "model/snapshot.h"

namespace isthmus::controlplane {

// Debug pages as JSON in the form of Istio's, made of what the program holds. Pure.

/// /debug/syncz: one entry a proxy; values are nonces.
kubeapi::Json SyncJson(const ads::Server& server, const std::string& cluster);
/// /debug/connections and the counts of /debug/adsz.
kubeapi::Json ConnectionsJson(const ads::Server& server);
/// /debug/registryz: the merged services.
kubeapi::Json ServicesJson(const model::Snapshot& snapshot);
/// /debug/endpointShardz: endpoints by host, namespace and where they were learnt.
kubeapi::Json EndpointShardsJson(const model::Snapshot& snapshot);
/// /debug/networkz: through which gateways networks are entered.
kubeapi::Json NetworksJson(const model::Snapshot& snapshot);
/// /debug/configz: the configuration objects in force.
kubeapi::Json ConfigsJson(const model::Snapshot& snapshot);
/// /debug/mesh.
kubeapi::Json MeshJson(const model::Snapshot& snapshot);

}  // namespace isthmus::controlplane
