#include "install/owned_objects.h"

#include <algorithm>
#include <utility>

#include "install/topology_manifests.h"

namespace isthmus::install {

base::Result<std::vector<Resource>> OwnedKinds(ClusterAccess& cluster, bool definitions) {
  const std::pair<const char*, const char*> kinds[] = {
      {"apps/v1", "Deployment"},
      {"apps/v1", "DaemonSet"},
      {"v1", "Service"},
      {"discovery.k8s.io/v1", "EndpointSlice"},
      {"v1", "ConfigMap"},
      {"v1", "Pod"},
      {"v1", "Secret"},
      {"v1", "ServiceAccount"},
      {"rbac.authorization.k8s.io/v1", "RoleBinding"},
      {"rbac.authorization.k8s.io/v1", "Role"},
      {"policy/v1", "PodDisruptionBudget"},
      {"autoscaling/v2", "HorizontalPodAutoscaler"},
      {"networking.istio.io/v1alpha3", "EnvoyFilter"},
      {"networking.istio.io/v1", "Gateway"},
      {"networking.istio.io/v1", "VirtualService"},
      {"admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"},
      {"admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"},
      {"rbac.authorization.k8s.io/v1", "ClusterRole"},
      {"rbac.authorization.k8s.io/v1", "ClusterRoleBinding"},
  };
  std::vector<Resource> resources;
  for (const auto& [api_version, kind] : kinds) {
    auto resource = cluster.Find(api_version, kind);
    if (resource.ok()) {
      resources.push_back(*resource);
    } else if (resource.status().code() != base::Code::kNotFound) {
      return resource.status().In(std::string("looking for kind ") + kind);
    }
  }
  if (definitions) resources.push_back(kDefinitions);
  return resources;
}

base::Result<std::vector<Owned>> FindOwned(ClusterAccess& cluster,
                                           const std::string& label_selector, bool definitions) {
  ASSIGN_OR_RETURN(std::vector<Resource> kinds, OwnedKinds(cluster, definitions), "");
  std::vector<Owned> owned;
  for (const Resource& resource : kinds) {
    ASSIGN_OR_RETURN(std::vector<Json> objects, cluster.List(resource, "", label_selector), "");
    for (Json& object : objects) owned.push_back(Owned{resource, std::move(object)});
  }
  return owned;
}

std::string Owned::text() const {
  const std::string ns = kubeapi::StringAt(object, {"metadata", "namespace"});
  return resource.kind + " " + (ns.empty() ? "" : ns + "/") +
         kubeapi::StringAt(object, {"metadata", "name"});
}

base::Result<std::vector<Owned>> FindSurplus(ClusterAccess& cluster,
                                             const std::string& label_selector,
                                             const std::set<std::string>& wanted) {
  ASSIGN_OR_RETURN(std::vector<Owned> owned, FindOwned(cluster, label_selector, false), "");
  std::erase_if(owned, [&](const Owned& one) {
    return !kubeapi::ItemsAt(one.object, {"metadata", "ownerReferences"}).empty() ||
           wanted.contains(one.text());
  });
  return owned;
}

base::Status Delete(ClusterAccess& cluster, const Owned& one) {
  return cluster.Delete(one.resource, kubeapi::NamespaceOf(one.object),
                        kubeapi::NameOf(one.object));
}

base::Result<std::vector<Owned>> SurplusRemoteSecrets(ClusterAccess& access,
                                                      const Topology& topology,
                                                      const TopologyCluster& cluster) {
  ASSIGN_OR_RETURN(
      std::vector<Json> made,
      access.List(kSecrets, "istio-system",
                  std::string(kTopologyLabel) + "=" + topology.name + ",istio/multiCluster=true"),
      "remote secrets");
  std::vector<Owned> surplus;
  for (Json& secret : made) {
    const std::string name = kubeapi::StringAt(secret, {"metadata", "name"});
    const bool wanted = std::any_of(
        topology.clusters.begin(), topology.clusters.end(), [&](const TopologyCluster& other) {
          return other.name != cluster.name && name == "istio-remote-secret-" + other.name;
        });
    if (!wanted) surplus.push_back(Owned{kSecrets, std::move(secret)});
  }
  return surplus;
}

base::Result<std::vector<Owned>> SurplusGateway(ClusterAccess& access, const Topology& topology,
                                                const TopologyCluster& cluster) {
  ASSIGN_OR_RETURN(Rendered gateway, EastWestGatewayOf(topology, cluster), "east-west gateway");
  ASSIGN_OR_RETURN(std::vector<Json> exposure, ExposureOf(topology, cluster), "");
  std::set<std::string> wanted;
  for (const Component& component : gateway.components)
    for (const Json& object : component.objects) wanted.insert(Describe(object));
  for (const Json& object : exposure) wanted.insert(Describe(object));
  // Remote secrets are marked as well.
  ASSIGN_OR_RETURN(
      std::vector<Owned> surplus,
      FindSurplus(access, fmt::format("{}={},!istio/multiCluster", kTopologyLabel, topology.name),
                  wanted),
      "east-west gateway");
  return surplus;
}

}  // namespace isthmus::install
