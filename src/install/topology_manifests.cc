#include "install/topology_manifests.h"

#include "base/files.h"
#include "kubeapi/selector.h"

namespace isthmus::install {
namespace {

constexpr std::string_view kSystem = "istio-system";

/// Kinds of these samples that belong to no namespace.
bool ClusterScoped(const std::string& kind) {
  return kind == "Namespace" || kind == "ClusterRole" || kind == "ClusterRoleBinding" ||
         kind == "CustomResourceDefinition" || kind == "PersistentVolume";
}

base::Result<std::vector<Json>> ReadObjects(const Topology& topology, const std::string& file) {
  ASSIGN_OR_RETURN(std::string path, ResolveFile(topology, file), "");
  ASSIGN_OR_RETURN(std::string text, base::ReadFile(path), "");
  ASSIGN_OR_RETURN(std::vector<Json> objects, kubeapi::ParseYamlStream(text), path);
  for (const Json& object : objects)
    if (kubeapi::StringAt(object, {"kind"}).empty() ||
        kubeapi::StringAt(object, {"metadata", "name"}).empty())
      return base::Error(base::Code::kInvalidArgument,
                         "{}: a document has no kind or no metadata.name", path);
  return objects;
}

}  // namespace

Json OperatorOf(const Topology& topology, const TopologyCluster& cluster,
                const std::string& pilot_address) {
  Json global = {{"meshID", topology.mesh_id}, {"multiCluster", {{"clusterName", cluster.name}}}};
  if (!cluster.network.empty()) global["network"] = cluster.network;
  if (!cluster.primary()) global["remotePilotAddress"] = pilot_address;
  Json spec = {{"values", {{"global", std::move(global)}}}};
  if (topology.trust_domain != "cluster.local")
    spec["meshConfig"]["trustDomain"] = topology.trust_domain;
  Overlay(spec, cluster.install);
  return {{"apiVersion", "install.istio.io/v1alpha1"},
          {"kind", "IstioOperator"},
          {"spec", std::move(spec)}};
}

Json EastWestOperatorOf(const Topology& topology, const TopologyCluster& cluster) {
  auto port = [](std::string_view name, int number) {
    return Json{{"name", name}, {"port", number}, {"targetPort", number}};
  };
  Json labels = {{"istio", "eastwestgateway"}, {"app", "istio-eastwestgateway"}};
  Json k8s = {{"service",
               {{"ports", Json::array({port("status-port", 15021), port("tls", 15443),
                                       port("tls-istiod", 15012), port("tls-webhook", 15017)})}}}};
  Json global = {{"meshID", topology.mesh_id}, {"multiCluster", {{"clusterName", cluster.name}}}};
  if (!cluster.network.empty()) {
    labels["topology.istio.io/network"] = cluster.network;
    k8s["env"] =
        Json::array({{{"name", "ISTIO_META_REQUESTED_NETWORK_VIEW"}, {"value", cluster.network}}});
    global["network"] = cluster.network;
  }
  if (!cluster.gateway.external_ips.empty())
    k8s["service"]["externalIPs"] = cluster.gateway.external_ips;
  Json gateway = {
      {"name", "istio-eastwestgateway"}, {"label", labels}, {"enabled", true}, {"k8s", k8s}};
  Json values = {{"global", std::move(global)},
                 {"gateways", {{"istio-ingressgateway", {{"injectionTemplate", "gateway"}}}}}};
  return {{"apiVersion", "install.istio.io/v1alpha1"},
          {"kind", "IstioOperator"},
          {"metadata", {{"name", "eastwest"}}},
          {"spec",
           {{"profile", "empty"},
            {"components", {{"ingressGateways", Json::array({std::move(gateway)})}}},
            {"values", std::move(values)}}}};
}

base::Result<Rendered> RenderOperator(const Json& iop, const std::string& name) {
  OperatorInput input;
  input.files.push_back(InputFile{name, kubeapi::ToYaml(iop)});
  ASSIGN_OR_RETURN(Installation installation, ResolveInstallation(input), "");
  ASSIGN_OR_RETURN(std::vector<Component> components, Render(installation), "");
  return Rendered{std::move(installation), std::move(components)};
}

base::Result<std::vector<Json>> ExposureOf(const Topology& topology,
                                           const TopologyCluster& cluster) {
  TopologyFiles files;
  files.ns = kSystem;
  if (cluster.gateway.exposes_services)
    files.files.push_back("samples/multicluster/expose-services.yaml");
  if (cluster.gateway.exposes_istiod)
    files.files.push_back("samples/multicluster/expose-istiod.yaml");
  return ObjectsOf(topology, files);
}

base::Result<std::vector<Json>> ObjectsOf(const Topology& topology, const TopologyFiles& files) {
  ASSIGN_OR_RETURN(kubeapi::LabelSelector selector, kubeapi::LabelSelector::Parse(files.selector),
                   "selector \"" + files.selector + "\"");
  std::vector<Json> chosen;
  for (const std::string& file : files.files) {
    ASSIGN_OR_RETURN(std::vector<Json> objects, ReadObjects(topology, file), "");
    for (Json& object : objects) {
      if (!selector.MatchesObject(object)) continue;
      if (!ClusterScoped(kubeapi::StringAt(object, {"kind"})) &&
          kubeapi::StringAt(object, {"metadata", "namespace"}).empty())
        object["metadata"]["namespace"] = files.ns;
      chosen.push_back(std::move(object));
    }
  }
  return chosen;
}

Json NamespaceOf(const Topology& topology, const TopologyFiles& files) {
  Json ns = {{"apiVersion", "v1"},
             {"kind", "Namespace"},
             {"metadata",
              {{"name", files.ns}, {"labels", {{std::string(kTopologyLabel), topology.name}}}}}};
  if (files.injection) ns["metadata"]["labels"]["istio-injection"] = "enabled";
  return ns;
}

}  // namespace isthmus::install
