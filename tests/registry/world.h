#pragma once

#include <string>
#include <string_view>

#include "kubeapi/json.h"
#include "registry/mesh_state.h"

namespace isthmus::registry {

inline constexpr char kHello[] = "helloworld.sample.svc.cluster.local";

/// Feeds Kubernetes objects in YAML to a MeshState, as the watches would.
class World {
 public:
  explicit World(MeshState::Options options = {model::ClusterId("c1"), "cluster.local",
                                               "istio-system"});

  MeshState& mesh() { return mesh_; }
  const model::Snapshot& snapshot() { return *mesh_.snapshot(); }
  /// Applies a stream of documents to a cluster, which is added when it is new. Does not update the
  /// snapshot.
  void Apply(const std::string& cluster, std::string_view yaml);
  void ApplyFile(const std::string& cluster, const std::string& name);
  void ApplyObject(const std::string& cluster, const Json& object);
  /// Deletes by kind and "namespace/name" or "name".
  void Delete(const std::string& cluster, const std::string& kind, const std::string& key);
  model::ChangeSet Update() { return mesh_.Update(); }

  /// "host" to "address:port@network weight" lines, in order.
  std::string Endpoints(const std::string& host, const std::string& ns);
  const model::Service* Service(const std::string& host);

 private:
  void Put(const std::string& cluster, const std::string& kind, const std::string& key,
           const Json* object);
  MeshState mesh_;
};

/// Whether two snapshots say the same; the version does not count. `why` tells the first
/// difference.
bool SameSnapshot(const model::Snapshot& a, const model::Snapshot& b, std::string* why);

}  // namespace isthmus::registry
