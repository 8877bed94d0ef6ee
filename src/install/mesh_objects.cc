#include "install/mesh_objects.h"

#include <algorithm>

#include "install/topology_manifests.h"
#include "kubeapi/meta.h"
#include "kubeapi/selector.h"
#include "pki/certificate.h"

namespace isthmus::install {
namespace {

using base::Code;
using kubeapi::StringAt;

/// A kind whose definition is not installed has no objects.
base::Status ListKind(ClusterAccess& access, const Resource& resource, std::vector<Json>& items) {
  auto list = access.List(resource, "");
  if (list.ok()) items = std::move(*list);
  return list.ok() || list.status().code() == Code::kNotFound ? base::Status() : list.status();
}

std::set<std::string> Fingerprints(const std::string& pem) {
  std::set<std::string> all;
  auto certificates = pki::Certificate::ChainFromPem(pem);
  if (!certificates.ok()) return all;
  for (const pki::Certificate& certificate : *certificates) all.insert(certificate.sha256());
  return all;
}

base::Status ReadSecrets(ClusterAccess& access, ClusterObjects& objects) {
  auto secrets = access.List(kSecrets, kSystem, "istio/multiCluster=true");
  objects.secrets_readable = secrets.ok() || secrets.status().code() != Code::kPermissionDenied;
  if (secrets.ok()) objects.remote_secrets = std::move(*secrets);
  if (!secrets.ok() && objects.secrets_readable) return secrets.status();
  objects.has_cacerts = access.Get(kSecrets, kSystem, "cacerts").ok();
  return {};
}

}  // namespace

base::Status ReadObjects(ClusterAccess& access, ClusterObjects& objects) {
  auto ns = access.Get(kNamespaces, "", kSystem);
  if (ns.ok()) objects.system_namespace = std::move(*ns);
  if (!ns.ok() && ns.status().code() != Code::kNotFound) return ns.status();
  if (auto map = access.Get(kConfigMaps, kSystem, "istio-ca-root-cert"); map.ok())
    objects.roots = Fingerprints(StringAt(*map, {"data", "root-cert.pem"}));
  RETURN_IF_ERROR(ReadSecrets(access, objects), "remote secrets");
  RETURN_IF_ERROR(ListKind(access, kServices, objects.services), "services");
  RETURN_IF_ERROR(ListKind(access, kPods, objects.pods), "pods");
  RETURN_IF_ERROR(ListKind(access, kDeployments, objects.deployments), "deployments");
  const auto istio = [](const char* group, const char* plural, const char* kind) {
    return Resource{group, "v1", plural, kind, true};
  };
  const struct {
    Resource resource;
    std::vector<Json>& items;
  } kinds[] = {
      {istio("networking.istio.io", "destinationrules", "DestinationRule"),
       objects.destination_rules},
      {istio("networking.istio.io", "gateways", "Gateway"), objects.mesh_gateways},
      {istio("networking.istio.io", "sidecars", "Sidecar"), objects.sidecars},
      {istio("security.istio.io", "peerauthentications", "PeerAuthentication"),
       objects.peer_authentications},
      {istio("security.istio.io", "authorizationpolicies", "AuthorizationPolicy"),
       objects.authorization_policies},
  };
  for (const auto& kind : kinds)
    RETURN_IF_ERROR(ListKind(access, kind.resource, kind.items), kind.resource.plural);
  return {};
}

base::Result<std::vector<IntendedObject>> IntendedObjects(const Topology& topology,
                                                          const TopologyCluster& cluster) {
  std::vector<IntendedObject> intended;
  for (const TopologyFiles& files : cluster.workloads) {
    for (const std::string& file : files.files) {
      TopologyFiles one = files;
      one.files = {file};
      ASSIGN_OR_RETURN(std::vector<Json> objects, ObjectsOf(topology, one), file);
      for (Json& object : objects) {
        const std::string kind = kubeapi::KindOf(object);
        if (kind == "Service" || kind == "Deployment")
          intended.push_back({std::move(object), file});
      }
    }
  }
  return intended;
}

void AddMissingServices(const ClusterObjects& objects, ClusterFacts& facts) {
  for (const IntendedObject& intended : objects.intended) {
    const Json& service = intended.object;
    const Json* labels = kubeapi::Find(service, {"spec", "selector"});
    if (kubeapi::KindOf(service) != "Service" || labels == nullptr) continue;
    const std::string ns = kubeapi::NamespaceOf(service);
    const bool there = std::any_of(
        objects.services.begin(), objects.services.end(),
        [&](const Json& one) { return kubeapi::KeyOf(one) == kubeapi::KeyOf(service); });
    if (there) continue;
    const auto selector = kubeapi::LabelSelector::FromLabels(*labels);
    for (const Json& port : kubeapi::ItemsAt(service, {"spec", "ports"})) {
      const int64_t number = kubeapi::IntAt(port, {"port"});
      auto& ready = facts.ready[kubeapi::NameOf(service) + "." + ns + ".svc.cluster.local|" +
                                std::to_string(number)];
      for (const Json& pod : objects.pods)
        if (kubeapi::NamespaceOf(pod) == ns && selector.MatchesObject(pod) &&
            kubeapi::ConditionIsTrue(pod, "Ready"))
          ready.insert(StringAt(pod, {"status", "podIP"}) + ":" +
                       std::to_string(kubeapi::IntAt(port, {"targetPort"}, number)));
    }
  }
}

}  // namespace isthmus::install
