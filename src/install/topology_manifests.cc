#include "install/topology_manifests.h"

#include "base/files.h"
#include "base/net.h"
#include "kubeapi/selector.h"

namespace isthmus::install {
namespace {

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

void Mark(const Topology& topology, Json& object) {
  object["metadata"]["labels"][std::string(kTopologyLabel)] = topology.name;
}

}  // namespace

Json MeshNetworksOf(const Topology& topology) {
  Json networks = Json::object();
  for (const TopologyCluster& cluster : topology.clusters)
    for (const std::string& text : cluster.gateway.reached_at)
      if (auto address = base::HostPort::Parse(text); address.ok())
        networks[cluster.network]["gateways"].push_back(
            {{"address", address->host}, {"port", address->port}});
  for (const TopologyCluster& cluster : topology.clusters)
    if (networks.contains(cluster.network))
      networks[cluster.network]["endpoints"].push_back({{"fromRegistry", cluster.name}});
  return networks;
}

namespace {

/// The ingress gateway whose Service says that it is the way into the cluster's network. Only the
/// Service: labels of the gateway itself would be in its selector, and differ between clusters.
Json CarryingGateway(const TopologyCluster& cluster) {
  Json patches = Json::array({{{"path", R"(metadata.labels.networking\.istio\.io/gatewayPort)"},
                               {"value", std::to_string(cluster.gateway.port)}}});
  if (!cluster.network.empty())
    patches.push_back(
        {{"path", R"(metadata.labels.topology\.istio\.io/network)"}, {"value", cluster.network}});
  Json overlay = {
      {"kind", "Service"}, {"name", cluster.gateway.service}, {"patches", std::move(patches)}};
  return {{"name", cluster.gateway.service},
          {"enabled", true},
          {"k8s", {{"overlays", Json::array({std::move(overlay)})}}}};
}

}  // namespace

Json OperatorOf(const Topology& topology, const TopologyCluster& cluster,
                const std::string& pilot_address) {
  Json global = {{"meshID", topology.mesh_id}, {"multiCluster", {{"clusterName", cluster.name}}}};
  if (!cluster.network.empty()) global["network"] = cluster.network;
  if (!cluster.has_istiod()) global["remotePilotAddress"] = pilot_address;
  if (Json networks = MeshNetworksOf(topology); !networks.empty())
    global["meshNetworks"] = std::move(networks);
  // A primary cares for its remotes' webhooks and roots; without remotes this changes nothing.
  if (cluster.has_istiod()) global["externalIstiod"] = true;
  const bool keeps_configuration = !cluster.host.empty();
  if (keeps_configuration) {
    global["configCluster"] = true;
    global["omitSidecarInjectorConfigMap"] = false;
  }
  Json spec = {{"values", {{"global", std::move(global)}}}};
  if (keeps_configuration) spec["values"]["pilot"]["configMap"] = true;
  if (topology.trust_domain != "cluster.local")
    spec["meshConfig"]["trustDomain"] = topology.trust_domain;
  std::string profile = kubeapi::StringAt(cluster.install, {"profile"});
  if (profile.empty() && topology.HostOf(cluster) != nullptr) spec["profile"] = profile = "remote";
  if (!cluster.has_istiod() && (profile == "remote" || profile == "external")) {
    std::string path = "/inject/cluster/" + cluster.name;
    if (!cluster.network.empty()) path += "/net/" + cluster.network;
    spec["values"]["istiodRemote"]["injectionPath"] = path;
  }
  if (cluster.gateway.present && !cluster.gateway.own()) {
    spec["components"]["ingressGateways"] = Json::array({CarryingGateway(cluster)});
    if (cluster.gateway.exposes_istiod)
      spec["values"]["global"]["meshExpansion"] = {{"enabled", true}};
  }
  Overlay(spec, cluster.install);
  return {{"apiVersion", "install.istio.io/v1alpha1"},
          {"kind", "IstioOperator"},
          {"spec", std::move(spec)}};
}

Json HostOperatorOf(const Topology& topology, const TopologyHost& host) {
  const TopologyCluster& served = *topology.Find(host.serves);
  Json global = {{"meshID", topology.mesh_id},
                 {"multiCluster", {{"clusterName", served.name}}},
                 {"externalIstiod", true},
                 // All of these are in the cluster that keeps the configuration.
                 {"operatorManageWebhooks", true},
                 {"omitSidecarInjectorConfigMap", true},
                 {"enableReaderRBAC", false}};
  if (!served.network.empty()) global["network"] = served.network;
  Json spec = {{"profile", "empty"},
               {"components", {{"pilot", {{"enabled", true}}}}},
               {"values", {{"global", std::move(global)}, {"pilot", {{"configMap", false}}}}}};
  Overlay(spec, host.install);
  return {{"apiVersion", "install.istio.io/v1alpha1"},
          {"kind", "IstioOperator"},
          {"spec", std::move(spec)}};
}

Json ExternalServiceOf(const TopologyHost& host) {
  auto port = [](const char* name, int number) -> Json {
    return {{"name", name}, {"port", number}, {"targetPort", number}, {"protocol", "TCP"}};
  };
  Json service = {
      {"apiVersion", "v1"},
      {"kind", "Service"},
      {"metadata",
       {{"name", kExternalService},
        {"namespace", kSystem},
        {"labels", {{"app", "istiod"}, {"operator.istio.io/component", "Pilot"}}}}},
      {"spec",
       {{"type", "LoadBalancer"},
        {"selector", {{"app", "istiod"}, {"istio", "pilot"}}},
        {"ports", Json::array({port("tcp-istiod", 15012), port("tcp-webhook", 15017)})}}}};
  if (!host.external_ips.empty()) service["spec"]["externalIPs"] = host.external_ips;
  return service;
}

Json EastWestOperatorOf(const Topology& topology, const TopologyCluster& cluster) {
  auto port = [&cluster](const std::string& name, int number) {
    Json port = {{"name", name}, {"port", number}, {"targetPort", number}};
    if (auto fixed = cluster.gateway.node_ports.find(name);
        fixed != cluster.gateway.node_ports.end())
      port["nodePort"] = fixed->second;
    return port;
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
  if (!cluster.gateway.cluster_ip.empty()) k8s["service"]["clusterIP"] = cluster.gateway.cluster_ip;
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

base::Result<Rendered> EastWestGatewayOf(const Topology& topology, const TopologyCluster& cluster) {
  if (!cluster.gateway.own()) return Rendered{};
  ASSIGN_OR_RETURN(Rendered rendered,
                   RenderOperator(EastWestOperatorOf(topology, cluster), "east-west gateway"), "");
  for (Component& component : rendered.components)
    for (Json& object : component.objects) Mark(topology, object);
  return rendered;
}

base::Result<std::vector<Json>> ExposureOf(const Topology& topology,
                                           const TopologyCluster& cluster) {
  TopologyFiles files;
  files.ns = kSystem;
  if (cluster.gateway.exposes_services)
    files.files.push_back("samples/multicluster/expose-services.yaml");
  // Another gateway of the installation leads to istiod by its own mesh expansion.
  if (cluster.gateway.exposes_istiod && cluster.gateway.own())
    files.files.push_back("samples/multicluster/expose-istiod.yaml");
  ASSIGN_OR_RETURN(std::vector<Json> objects, ObjectsOf(topology, files), "");
  for (Json& object : objects) Mark(topology, object);
  if (cluster.gateway.own()) return objects;
  for (Json& object : objects) {
    object["spec"]["selector"] = {{"istio", "ingressgateway"}};
    for (Json& server : object["spec"]["servers"]) server["port"]["number"] = cluster.gateway.port;
  }
  return objects;
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
