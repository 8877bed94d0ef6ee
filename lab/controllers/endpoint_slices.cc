#include "lab/controllers/endpoint_slices.h"

#include <map>
#include <optional>

#include "kubeapi/meta.h"
#include "kubeapi/selector.h"
#include "lab/controllers/pods.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

constexpr char kServiceLabel[] = "kubernetes.io/service-name";
constexpr char kManagedBy[] = "endpointslice.kubernetes.io/managed-by";
constexpr char kManager[] = "endpointslice-controller.k8s.io";
constexpr char kMirror[] = "endpointslicemirroring-controller.k8s.io";

/// The number that a service port's target has in this pod; nothing when the pod names no such
/// port.
std::optional<int64_t> TargetPort(const Json& port, const Json& pod) {
  const Json* target = Find(port, {"targetPort"});
  if (target == nullptr) return IntAt(port, {"port"});
  if (target->is_number_integer()) return target->get<int64_t>();
  if (!target->is_string()) return std::nullopt;
  for (const char* list : {"containers", "initContainers"}) {
    const Json* containers = Find(pod, {"spec", list});
    if (containers == nullptr || !containers->is_array()) continue;
    for (const Json& container : *containers) {
      const Json* ports = Find(container, {"ports"});
      if (ports == nullptr || !ports->is_array()) continue;
      for (const Json& named : *ports)
        if (StringAt(named, {"name"}) == target->get<std::string>())
          return IntAt(named, {"containerPort"});
    }
  }
  return std::nullopt;
}

/// The ports that a service has in one pod; pods that differ in them go to slices of their own.
Json PortsIn(const Json& service, const Json& pod) {
  Json ports = Json::array();
  const Json* list = Find(service, {"spec", "ports"});
  if (list == nullptr || !list->is_array()) return ports;
  for (const Json& port : *list) {
    auto number = TargetPort(port, pod);
    if (!number.has_value()) continue;
    Json one = {{"name", StringAt(port, {"name"})},
                {"port", *number},
                {"protocol", StringAt(port, {"protocol"})}};
    if (one["protocol"] == "") one["protocol"] = "TCP";
    if (std::string app = StringAt(port, {"appProtocol"}); !app.empty()) one["appProtocol"] = app;
    ports.push_back(std::move(one));
  }
  return ports;
}

Json EndpointOf(const World& world, const Json& service, const Json& pod) {
  bool terminating = kubeapi::IsBeingDeleted(pod);
  bool serving = IsReady(pod);
  bool ready =
      (serving && !terminating) || kubeapi::BoolAt(service, {"spec", "publishNotReadyAddresses"});
  std::string node = StringAt(pod, {"spec", "nodeName"});
  Json endpoint = {
      {"addresses", Json::array({StringAt(pod, {"status", "podIP"})})},
      {"conditions", {{"ready", ready}, {"serving", serving}, {"terminating", terminating}}},
      {"nodeName", node},
      {"targetRef",
       {{"kind", "Pod"},
        {"namespace", kubeapi::NamespaceOf(pod)},
        {"name", kubeapi::NameOf(pod)},
        {"uid", kubeapi::UidOf(pod)}}}};
  if (const Json* of = world.Get(kNodes, "", node))
    if (std::string zone = kubeapi::LabelOf(*of, "topology.kubernetes.io/zone"); !zone.empty())
      endpoint["zone"] = zone;
  std::string hostname = StringAt(pod, {"spec", "hostname"});
  if (!hostname.empty() && StringAt(pod, {"spec", "subdomain"}) == kubeapi::NameOf(service))
    endpoint["hostname"] = hostname;
  return endpoint;
}

/// Endpoints by ports, as they should be.
std::map<std::string, Json> WantedSlices(const World& world, const Json& service) {
  std::map<std::string, Json> by_ports;
  auto selector = kubeapi::LabelSelector::FromLabels(service["spec"]["selector"]);
  for (const Json* pod : world.List(kPods, kubeapi::NamespaceOf(service))) {
    std::string phase = StringAt(*pod, {"status", "phase"});
    if (StringAt(*pod, {"status", "podIP"}).empty() || phase == "Succeeded" || phase == "Failed" ||
        !selector.MatchesObject(*pod))
      continue;
    Json ports = PortsIn(service, *pod);
    Json& slice = by_ports[kubeapi::ToJson(ports)];
    slice["ports"] = std::move(ports);
    slice["endpoints"].push_back(EndpointOf(world, service, *pod));
  }
  if (by_ports.empty()) by_ports["[]"] = {{"ports", Json::array()}, {"endpoints", Json::array()}};
  return by_ports;
}

Json NewSlice(const Json& owner, const std::string& manager, const std::string& suffix) {
  Json slice = {
      {"apiVersion", "discovery.k8s.io/v1"}, {"kind", "EndpointSlice"}, {"addressType", "IPv4"}};
  slice["metadata"] = {{"name", kubeapi::NameOf(owner) + "-" + suffix},
                       {"namespace", kubeapi::NamespaceOf(owner)},
                       {"labels", {{kServiceLabel, kubeapi::NameOf(owner)}, {kManagedBy, manager}}},
                       {"ownerReferences", Json::array({kubeapi::OwnerReference(owner)})}};
  if (const Json* labels = Find(owner, {"metadata", "labels"});
      labels != nullptr && labels->is_object())
    for (const auto& [key, value] : labels->items())
      slice["metadata"]["labels"].emplace(key, value);
  if (StringAt(owner, {"spec", "clusterIP"}) == "None")
    slice["metadata"]["labels"]["service.kubernetes.io/headless"] = "";
  return slice;
}

/// Makes the slices of one manager what is wanted: replaces those that differ, makes and deletes
/// others.
void SyncSlices(const World& world, const Json& owner, const std::string& manager,
                const std::map<std::string, Json>& wanted, std::vector<Write>& writes) {
  const std::string ns = kubeapi::NamespaceOf(owner);
  std::map<std::string, const Json*> have;
  for (const Json* slice : world.List(kEndpointSlices, ns))
    if (kubeapi::LabelOf(*slice, kServiceLabel) == kubeapi::NameOf(owner) &&
        kubeapi::LabelOf(*slice, kManagedBy) == manager)
      have[kubeapi::NameOf(*slice)] = slice;
  size_t index = 0;
  for (const auto& [ports, content] : wanted) {
    // Names that stay the same as pods come and go.
    Json slice =
        NewSlice(owner, manager, ShortHash(kubeapi::UidOf(owner) + std::to_string(index++), 5));
    auto known = have.find(kubeapi::NameOf(slice));
    if (known == have.end()) {
      slice["endpoints"] = content["endpoints"];
      slice["ports"] = content["ports"];
      writes.push_back(CreateObject(kEndpointSlices, ns, std::move(slice)));
      continue;
    }
    Json after = *known->second;
    after["endpoints"] = content["endpoints"];
    after["ports"] = content["ports"];
    for (const auto& [key, value] : slice["metadata"]["labels"].items())
      after["metadata"]["labels"][key] = value;
    if (after != *known->second) writes.push_back(Replace(kEndpointSlices, std::move(after)));
    have.erase(known);
  }
  for (const auto& [name, slice] : have) writes.push_back(Delete(kEndpointSlices, *slice));
}

/// The Endpoints object of old clients: the same addresses, ready and not, by ports.
void SyncEndpoints(const World& world, const Json& service,
                   const std::map<std::string, Json>& wanted, std::vector<Write>& writes) {
  Json subsets = Json::array();
  for (const auto& [key, content] : wanted) {
    Json subset = Json::object();
    for (const Json& endpoint : content["endpoints"]) {
      Json address = {{"ip", endpoint["addresses"][0]},
                      {"nodeName", endpoint["nodeName"]},
                      {"targetRef", endpoint["targetRef"]}};
      if (endpoint.contains("hostname")) address["hostname"] = endpoint["hostname"];
      subset[endpoint["conditions"]["ready"] == true ? "addresses" : "notReadyAddresses"].push_back(
          std::move(address));
    }
    if (subset.empty()) continue;
    subset["ports"] = content["ports"];
    subsets.push_back(std::move(subset));
  }
  const std::string ns = kubeapi::NamespaceOf(service), name = kubeapi::NameOf(service);
  const Json* have = world.Get(kEndpoints, ns, name);
  if (have == nullptr) {
    Json endpoints = {{"apiVersion", "v1"},
                      {"kind", "Endpoints"},
                      {"metadata", {{"name", name}, {"namespace", ns}}},
                      {"subsets", subsets}};
    if (const Json* labels = Find(service, {"metadata", "labels"}))
      endpoints["metadata"]["labels"] = *labels;
    writes.push_back(CreateObject(kEndpoints, ns, std::move(endpoints)));
    return;
  }
  Json after = *have;
  after["subsets"] = subsets;
  if (after["subsets"] != have->value("subsets", Json::array()))
    writes.push_back(Replace(kEndpoints, std::move(after)));
}

/// What users wrote into an Endpoints object of a service without selector.
std::map<std::string, Json> Mirrored(const Json& endpoints) {
  std::map<std::string, Json> by_ports;
  const Json* subsets = Find(endpoints, {"subsets"});
  if (subsets == nullptr || !subsets->is_array()) return by_ports;
  for (const Json& subset : *subsets) {
    Json ports = subset.value("ports", Json::array());
    for (Json& port : ports)
      if (!port.contains("name")) port["name"] = "";
    Json& slice = by_ports[kubeapi::ToJson(ports)];
    slice["ports"] = ports;
    for (const char* list : {"addresses", "notReadyAddresses"})
      for (const Json& address : subset.value(list, Json::array()))
        slice["endpoints"].push_back(
            {{"addresses", Json::array({StringAt(address, {"ip"})})},
             {"conditions", {{"ready", std::string_view(list) == "addresses"}}}});
  }
  return by_ports;
}

}  // namespace

std::vector<std::string> EndpointSliceController::KeysFor(const World& world,
                                                          const Resource& resource,
                                                          const Json& object, bool) const {
  if (Same(resource, kServices) || Same(resource, kEndpoints)) return {kubeapi::KeyOf(object)};
  const std::string ns = kubeapi::NamespaceOf(object);
  if (Same(resource, kEndpointSlices)) {
    std::string service = kubeapi::LabelOf(object, kServiceLabel);
    if (service.empty()) return {};
    return {kubeapi::KeyOf(ns, service)};
  }
  std::vector<std::string> keys;
  if (!Same(resource, kPods)) return keys;
  // Labels of a pod may change, so that all services of its namespace are looked at; they are few.
  for (const Json* service : world.List(kServices, ns)) keys.push_back(kubeapi::KeyOf(*service));
  return keys;
}

std::vector<Write> EndpointSliceController::Reconcile(const World& world, const std::string& key) {
  auto [ns, service_name] = SplitKey(key);
  std::vector<Write> writes;
  const Json* service = world.Get(kServices, ns, service_name);
  if (service == nullptr) {
    for (const Json* slice : world.List(kEndpointSlices, ns))
      if (kubeapi::LabelOf(*slice, kServiceLabel) == service_name &&
          kubeapi::LabelOf(*slice, kManagedBy) == kManager)
        writes.push_back(Delete(kEndpointSlices, *slice));
    if (const Json* endpoints = world.Get(kEndpoints, ns, service_name))
      writes.push_back(Delete(kEndpoints, *endpoints));
    return writes;
  }
  if (kubeapi::IsBeingDeleted(*service) || StringAt(*service, {"spec", "type"}) == "ExternalName")
    return writes;
  const Json* selector = Find(*service, {"spec", "selector"});
  if (selector != nullptr && selector->is_object() && !selector->empty()) {
    auto wanted = WantedSlices(world, *service);
    SyncSlices(world, *service, kManager, wanted, writes);
    SyncEndpoints(world, *service, wanted, writes);
    return writes;
  }
  const Json* endpoints = world.Get(kEndpoints, ns, service_name);
  // The API server keeps the endpoints of its own service by itself.
  if (endpoints != nullptr && key != "default/kubernetes")
    SyncSlices(world, *endpoints, kMirror, Mirrored(*endpoints), writes);
  return writes;
}

}  // namespace isthmus::lab::controllers
