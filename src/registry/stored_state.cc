#include "registry/stored_state.h"

#include <map>
#include <utility>

#include "base/strings.h"
#include "config/reader.h"
#include "istio/networking/v1/workload_entry.pb.h"
#include "kubeapi/meta.h"

namespace isthmus::registry {
namespace {

constexpr int kFormat = 1;

const std::map<std::string, Watched, std::less<>>& Kinds() {
  static const auto& kinds =
      *new std::map<std::string, Watched, std::less<>>{{"Namespace", Watched::kNamespace},
                                                       {"Node", Watched::kNode},
                                                       {"Pod", Watched::kPod},
                                                       {"Service", Watched::kService},
                                                       {"EndpointSlice", Watched::kEndpointSlice},
                                                       {"WorkloadEntry", Watched::kWorkloadEntry}};
  return kinds;
}

Json Object(const char* kind, const std::string& key, const model::Labels& labels = {}) {
  Json object = {{"kind", kind}, {"metadata", Json::object()}};
  const auto [first, second] = base::Cut(key, "/");
  if (second.empty()) {
    object["metadata"]["name"] = first;
  } else {
    object["metadata"]["namespace"] = first;
    object["metadata"]["name"] = second;
  }
  if (!labels.empty()) object["metadata"]["labels"] = labels;
  return object;
}

Json NodeObject(const std::string& key, const NodeRecord& node) {
  Json object = Object("Node", key, *node.labels);
  if (!node.external_ip.empty())
    object["status"]["addresses"] =
        Json::array({{{"type", "ExternalIP"}, {"address", node.external_ip}}});
  return object;
}

Json PodObject(const std::string& key, const model::Workload& pod, const std::string& owner,
               bool ready) {
  Json object = Object("Pod", key, *pod.labels);
  object["spec"] = {{"nodeName", pod.node}, {"serviceAccountName", pod.service_account}};
  Json ports = Json::array();
  for (const auto& [name, port] : *pod.container_ports)
    ports.push_back({{"name", name}, {"containerPort", port}});
  if (!ports.empty()) object["spec"]["containers"] = Json::array({{{"ports", std::move(ports)}}});
  Json ips = Json::array();
  for (const std::string& ip : pod.addresses) ips.push_back({{"ip", ip}});
  object["status"] = {{"podIPs", std::move(ips)}};
  if (ready)
    object["status"]["conditions"] = Json::array({{{"type", "Ready"}, {"status", "True"}}});
  // Any owner of another kind than ReplicaSet and Job gives its name as it is.
  if (owner != pod.name)
    object["metadata"]["ownerReferences"] =
        Json::array({{{"kind", "Workload"}, {"name", owner}, {"controller", true}}});
  return object;
}

Json PortObjects(const ServiceRecord& record) {
  Json ports = Json::array();
  for (const model::Port& port : record.service->ports) {
    Json item = {{"name", port.name}, {"port", port.number}, {"targetPort", port.target}};
    if (auto name = record.target_names.find(port.number); name != record.target_names.end())
      item["targetPort"] = name->second;
    if (port.node_port != 0) item["nodePort"] = port.node_port;
    if (port.protocol == model::Protocol::kUdp)
      item["protocol"] = "UDP";
    else if (port.protocol != model::Protocol::kAuto)
      item["appProtocol"] = base::ToLower(model::ProtocolName(port.protocol));
    ports.push_back(std::move(item));
  }
  return ports;
}

Json ServiceObject(const std::string& key, const ServiceRecord& record) {
  const model::Service& service = *record.service;
  Json object = Object("Service", key, service.labels);
  Json& meta = object["metadata"];
  meta["creationTimestamp"] = base::FormatTime(service.created);
  auto annotate = [&meta](const char* name, const std::vector<std::string>& values) {
    if (!values.empty()) meta["annotations"][name] = base::Join(values, ",");
  };
  annotate("networking.istio.io/exportTo", record.export_to);
  annotate("alpha.istio.io/canonical-serviceaccounts", service.subject_alt_names);
  annotate("alpha.istio.io/kubernetes-serviceaccounts", record.kubernetes_accounts);
  if (record.node_selector)
    meta["annotations"]["traffic.istio.io/nodeSelector"] =
        kubeapi::ToJson(Json(*record.node_selector));
  Json& spec = object["spec"];
  spec = {{"type", service.kubernetes_type}, {"ports", PortObjects(record)}};
  if (!service.selector.empty()) spec["selector"] = service.selector;
  if (service.node_local) spec["internalTrafficPolicy"] = "Local";
  if (service.publish_not_ready) spec["publishNotReadyAddresses"] = true;
  if (!service.traffic_distribution.empty())
    spec["trafficDistribution"] = service.traffic_distribution;
  if (!record.load_balancer.empty()) spec["externalIPs"] = record.load_balancer;
  if (service.resolution == model::Resolution::kAlias) {
    spec["externalName"] = service.alias_of;
  } else if (service.headless) {
    spec["clusterIP"] = "None";
  } else if (!service.cluster_vips.empty()) {
    spec["clusterIP"] = service.default_address;
    spec["clusterIPs"] = service.cluster_vips.begin()->second;
  }
  return object;
}

Json SliceObject(const std::string& ns, const std::string& name, const SliceRecord& slice) {
  Json object = Object("EndpointSlice", ns + "/" + name);
  object["metadata"]["labels"]["kubernetes.io/service-name"] = slice.service;
  if (slice.standby) object["metadata"]["labels"][kManagedByLabel] = kStandbyManager;
  Json endpoints = Json::array();
  for (const SliceEndpoint& endpoint : slice.endpoints) {
    Json item = {{"addresses", Json::array({endpoint.address})},
                 {"conditions",
                  {{"ready", endpoint.ready},
                   {"serving", endpoint.serving},
                   {"terminating", endpoint.terminating}}}};
    if (!endpoint.pod.empty())
      item["targetRef"] = {{"kind", "Pod"}, {"namespace", endpoint.pod_ns}, {"name", endpoint.pod}};
    if (!endpoint.node.empty()) item["nodeName"] = endpoint.node;
    if (!endpoint.hostname.empty()) item["hostname"] = endpoint.hostname;
    endpoints.push_back(std::move(item));
  }
  object["endpoints"] = std::move(endpoints);
  Json ports = Json::array();
  for (const auto& [port_name, number] : slice.ports)
    ports.push_back({{"name", port_name}, {"port", number}});
  object["ports"] = std::move(ports);
  return object;
}

Json EntryObject(const std::string& key, const WorkloadEntryRecord& entry) {
  Json object = Object("WorkloadEntry", key, entry->meta.labels);
  auto spec = kubeapi::ParseJson(config::ToJsonText(entry->spec));
  object["spec"] = spec.ok() ? std::move(*spec) : Json::object();
  return object;
}

}  // namespace

void ClusterState::Export(const std::function<void(const Json&)>& sink) const {
  for (const auto& [key, record] : namespaces_) {
    Json object = Object("Namespace", key, *record.labels);
    if (!record.traffic_distribution.empty())
      object["metadata"]["annotations"]["networking.istio.io/traffic-distribution"] =
          record.traffic_distribution;
    if (!record.leaders.empty())
      object["metadata"]["annotations"][kLeadersAnnotation] = record.leaders;
    sink(object);
  }
  for (const auto& [key, record] : nodes_) sink(NodeObject(key, record));
  for (const auto& [key, pod] : pods_) sink(PodObject(key, *pod.workload, pod.owner, pod.ready));
  for (const auto& [key, record] : services_) sink(ServiceObject(key, record));
  for (const auto& [service, slices] : slices_) {
    const std::string ns(base::Cut(service, "/").first);
    for (const auto& [name, slice] : slices) sink(SliceObject(ns, name, slice));
  }
  for (const auto& [key, entry] : entries_) sink(EntryObject(key, entry));
}

std::string SaveState(const ClusterState& cluster, base::Time now) {
  std::string text = kubeapi::ToJson(Json{
      {"format", kFormat}, {"cluster", cluster.id().text()}, {"saved", base::FormatTime(now)}});
  text += '\n';
  size_t count = 0;
  cluster.Export([&](const Json& object) {
    text += kubeapi::ToJson(object);
    text += '\n';
    ++count;
  });
  text += kubeapi::ToJson(Json{{"objects", count}});
  text += '\n';
  return text;
}

base::Result<base::Time> LoadState(std::string_view text, ClusterState& cluster) {
  const auto lines = base::Split(text, '\n');
  // Header, trailer and the empty part behind the last line end.
  if (lines.size() < 3) return base::Error(base::Code::kDataLoss, "is torn: it has no trailer");
  ASSIGN_OR_RETURN(const Json header, kubeapi::ParseJson(lines.front()), "header");
  if (kubeapi::IntAt(header, {"format"}) != kFormat)
    return base::Error(base::Code::kUnimplemented, "has a format that this version does not know");
  if (kubeapi::StringAt(header, {"cluster"}) != cluster.id().text())
    return base::Error(base::Code::kInvalidArgument, "is of cluster {}",
                       kubeapi::StringAt(header, {"cluster"}));
  ASSIGN_OR_RETURN(const base::Time saved, base::ParseTime(kubeapi::StringAt(header, {"saved"})),
                   "header");
  ASSIGN_OR_RETURN(const Json trailer, kubeapi::ParseJson(lines[lines.size() - 2]), "trailer");
  if (kubeapi::IntAt(trailer, {"objects"}, -1) != static_cast<int64_t>(lines.size()) - 3)
    return base::Error(base::Code::kDataLoss, "is torn: objects are missing");
  for (size_t i = 1; i + 2 < lines.size(); ++i) {
    ASSIGN_OR_RETURN(const Json object, kubeapi::ParseJson(lines[i]),
                     fmt::format("line {}", i + 1));
    const auto kind = Kinds().find(kubeapi::KindOf(object));
    if (kind != Kinds().end()) cluster.Apply(kind->second, kubeapi::KeyOf(object), &object);
  }
  return saved;
}

}  // namespace isthmus::registry
