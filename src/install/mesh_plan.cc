#include <map>

#include "install/apply.h"
#include "install/mesh_up.h"
#include "install/topology_manifests.h"
#include "install/trust.h"
#include "kubeapi/patch.h"

namespace isthmus::install {
namespace {

using base::Code;
using kubeapi::StringAt;

/// Fields that the server writes by itself; they say nothing of what is wanted.
Json WithoutServerFields(Json object) {
  for (const char* key :
       {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"})
    object["metadata"].erase(key);
  object.erase("status");
  return object;
}

/// Paths at which the two differ, at most five, as a user would name them.
std::string Differences(const Json& live, const Json& wanted) {
  std::string text;
  int count = 0;
  for (const Json& step : Json::diff(live, wanted)) {
    std::string path = StringAt(step, {"path"});
    for (char& c : path)
      if (c == '/') c = '.';
    if (++count > 5) return text + ", ...";
    text += (text.empty() ? "" : ", ") + path;
  }
  return text;
}

/// Asks the server what applying would give, without doing it.
base::Result<Json> DryRunApply(ClusterAccess& access, const Resource& resource,
                               const Json& object) {
  http::Request request;
  request.method = "PATCH";
  std::string ns = resource.namespaced ? StringAt(object, {"metadata", "namespace"}) : "";
  request.target = resource.Path(ns, StringAt(object, {"metadata", "name"})) +
                   "?dryRun=All&fieldManager=istio-operator&force=true";
  request.headers.Set("content-type", "application/apply-patch+yaml");
  request.body = kubeapi::ToJson(object);
  ASSIGN_OR_RETURN(
      http::Response response,
      kubeclient::Await<http::Response>(
          access.loop(), std::chrono::seconds(30),
          [&](auto done) { access.client().Raw(request, std::chrono::seconds(30), done); }),
      "");
  return kubeapi::ParseJson(response.body);
}

base::Result<PlanLine> PlanObject(ClusterAccess& access, const std::string& cluster,
                                  const Json& object) {
  PlanLine line{cluster, PlanLine::Action::kCreate, Describe(object), ""};
  auto resource = access.Find(StringAt(object, {"apiVersion"}), StringAt(object, {"kind"}));
  if (!resource.ok()) {
    // A kind that is not served yet: its definition is part of the plan.
    if (resource.status().code() == Code::kNotFound) return line;
    return resource.status();
  }
  std::string ns = resource->namespaced ? StringAt(object, {"metadata", "namespace"}) : "";
  auto live = access.Get(*resource, ns, StringAt(object, {"metadata", "name"}));
  if (!live.ok()) {
    if (live.status().code() == Code::kNotFound) return line;
    return live.status();
  }
  ASSIGN_OR_RETURN(Json wanted, DryRunApply(access, *resource, object),
                   "asking for a dry run of " + line.object);
  line.detail = Differences(WithoutServerFields(*live), WithoutServerFields(wanted));
  line.action = line.detail.empty() ? PlanLine::Action::kKeep : PlanLine::Action::kChange;
  return line;
}

/// Where the control plane of a cluster is reached, as far as the file says.
std::string PilotAddress(const Topology& topology, const TopologyCluster& cluster) {
  if (!cluster.remote_pilot_address.empty()) return cluster.remote_pilot_address;
  const TopologyHost* host = topology.HostOf(cluster);
  const TopologyCluster* primary = topology.Find(cluster.control_plane);
  const std::vector<std::string>* addresses = host != nullptr      ? &host->external_ips
                                              : primary != nullptr ? &primary->gateway.external_ips
                                                                   : nullptr;
  return addresses == nullptr || addresses->empty() ? "" : addresses->front();
}

base::Status AddRendered(const Rendered& rendered, ClusterAccess& access,
                         std::vector<Json>& wanted) {
  for (const Component& component : rendered.components) {
    ASSIGN_OR_RETURN(std::vector<Json> objects, AsApplied(access, rendered.installation, component),
                     component.title);
    wanted.insert(wanted.end(), objects.begin(), objects.end());
  }
  return {};
}

/// All objects that BringUp would apply to a cluster and that can be known beforehand. `main` is
/// its installation.
base::Result<std::vector<Json>> WantedObjects(const Topology& topology,
                                              const TopologyCluster& cluster, const Rendered& main,
                                              ClusterAccess& access) {
  std::vector<Json> wanted;
  RETURN_IF_ERROR(AddRendered(main, access, wanted), "");
  ASSIGN_OR_RETURN(Rendered gateway, EastWestGatewayOf(topology, cluster), "east-west gateway");
  RETURN_IF_ERROR(AddRendered(gateway, access, wanted), "");
  if (cluster.gateway.present) {
    ASSIGN_OR_RETURN(std::vector<Json> exposure, ExposureOf(topology, cluster), "");
    wanted.insert(wanted.end(), exposure.begin(), exposure.end());
  }
  for (const TopologyFiles& files : cluster.workloads)
    wanted.push_back(NamespaceOf(topology, files));
  for (const auto* list : {&cluster.workloads, &cluster.config}) {
    for (const TopologyFiles& files : *list) {
      ASSIGN_OR_RETURN(std::vector<Json> objects, ObjectsOf(topology, files), "");
      wanted.insert(wanted.end(), objects.begin(), objects.end());
    }
  }
  return wanted;
}

/// Secrets are told by name only: their content is made when they are.
base::Result<PlanLine> PlanSecret(ClusterAccess& access, const std::string& cluster,
                                  const std::string& name) {
  auto live = access.Get(kSecrets, "istio-system", name);
  if (!live.ok() && live.status().code() != Code::kNotFound) return live.status();
  return PlanLine{cluster, live.ok() ? PlanLine::Action::kKeep : PlanLine::Action::kCreate,
                  "Secret istio-system/" + name, ""};
}

base::Status PlanCluster(const Topology& topology, const TopologyCluster& cluster,
                         ClusterAccess& access, std::vector<PlanLine>& lines) {
  if (topology.HostOf(cluster) == nullptr) {
    ASSIGN_OR_RETURN(PlanLine certificates, PlanSecret(access, cluster.name, "cacerts"), "");
    lines.push_back(certificates);
  }
  std::vector<Owned> surplus;
  if (cluster.primary()) {
    ASSIGN_OR_RETURN(surplus, SurplusRemoteSecrets(access, topology, cluster), "");
    for (const TopologyCluster& other : topology.clusters) {
      if (other.name == cluster.name) continue;
      ASSIGN_OR_RETURN(PlanLine secret,
                       PlanSecret(access, cluster.name, "istio-remote-secret-" + other.name), "");
      lines.push_back(secret);
    }
  }
  ASSIGN_OR_RETURN(
      Rendered main,
      RenderOperator(OperatorOf(topology, cluster, PilotAddress(topology, cluster)), "topology"),
      "");
  ASSIGN_OR_RETURN(std::vector<Json> wanted, WantedObjects(topology, cluster, main, access), "");
  for (const Json& object : wanted) {
    ASSIGN_OR_RETURN(PlanLine line, PlanObject(access, cluster.name, object), Describe(object));
    lines.push_back(std::move(line));
  }
  ASSIGN_OR_RETURN(std::vector<Owned> pruned, SurplusOf(access, main.installation, main.components),
                   "");
  surplus.insert(surplus.end(), pruned.begin(), pruned.end());
  ASSIGN_OR_RETURN(std::vector<Owned> gateway, SurplusGateway(access, topology, cluster), "");
  surplus.insert(surplus.end(), gateway.begin(), gateway.end());
  for (const Owned& one : surplus)
    lines.push_back(
        {cluster.name, PlanLine::Action::kRemove, one.text(), "the file asks for it no more"});
  return {};
}

base::Status PlanHost(const Topology& topology, const TopologyHost& host, ClusterAccess& access,
                      std::vector<PlanLine>& lines) {
  for (const char* name : {"cacerts", "istio-kubeconfig"}) {
    ASSIGN_OR_RETURN(PlanLine secret, PlanSecret(access, host.name, name), "");
    lines.push_back(secret);
  }
  std::vector<Json> wanted = {ExternalServiceOf(host)};
  ASSIGN_OR_RETURN(Rendered istiod,
                   RenderOperator(HostOperatorOf(topology, host), "external control plane"), "");
  RETURN_IF_ERROR(AddRendered(istiod, access, wanted), "");
  for (const Json& object : wanted) {
    ASSIGN_OR_RETURN(PlanLine line, PlanObject(access, host.name, object), Describe(object));
    lines.push_back(std::move(line));
  }
  return {};
}

}  // namespace

base::Result<std::vector<PlanLine>> PlanUp(MeshSession& session) {
  std::map<std::string, std::vector<PlanLine>> by_cluster;
  for (const TopologyCluster& cluster : session.topology().clusters) by_cluster[cluster.name];
  RETURN_IF_ERROR(session.OnAll([&](const TopologyCluster& cluster, ClusterAccess& access) {
    return PlanCluster(session.topology(), cluster, access, by_cluster.at(cluster.name));
  }),
                  "planning");
  std::vector<PlanLine> lines;
  RETURN_IF_ERROR(session.OnHosts([&](const TopologyHost& host, ClusterAccess& access) {
    return PlanHost(session.topology(), host, access, lines);
  }),
                  "planning");
  for (const TopologyCluster& cluster : session.topology().clusters)
    for (PlanLine& line : by_cluster.at(cluster.name)) lines.push_back(std::move(line));
  return lines;
}

}  // namespace isthmus::install
