#include "registry/records.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::registry {
namespace {

using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

model::Labels ReadStrings(const Json* json) {
  model::Labels strings;
  if (json == nullptr || !json->is_object()) return strings;
  for (const auto& [key, value] : json->items())
    if (value.is_string()) strings.emplace(key, value.get_ref<const std::string&>());
  return strings;
}

uint16_t PortAt(const Json& json, std::string_view key) {
  const int64_t port = IntAt(json, {key});
  return port > 0 && port <= 65535 ? static_cast<uint16_t>(port) : 0;
}

std::string Label(const model::Labels& labels, const char* key, const char* old_key = nullptr) {
  auto found = labels.find(key);
  if (found == labels.end() && old_key != nullptr) found = labels.find(old_key);
  return found == labels.end() ? std::string() : found->second;
}

// A pod of a deployment is owned by a replica set named "<deployment>-<hash>", a pod of a cron job
// by a job named "<cron job>-<minutes>".
std::string WorkloadOf(const Json& pod, const std::string& name) {
  const Json* owner = kubeapi::ControllerOf(pod);
  if (owner == nullptr) return name;
  std::string owner_name = StringAt(*owner, {"name"});
  const std::string kind = StringAt(*owner, {"kind"});
  if (kind == "ReplicaSet") {
    const std::string hash = kubeapi::LabelOf(pod, "pod-template-hash");
    if (!hash.empty() && owner_name.ends_with("-" + hash))
      owner_name.resize(owner_name.size() - hash.size() - 1);
  } else if (kind == "Job") {
    const size_t dash = owner_name.rfind('-');
    if (dash != std::string::npos && owner_name.size() - dash - 1 >= 8 &&
        owner_name.find_first_not_of("0123456789", dash + 1) == std::string::npos)
      owner_name.resize(dash);
  }
  return owner_name.empty() ? name : owner_name;
}

void ReadServicePorts(const Json& object, ServiceRecord& record, model::Service& service) {
  for (const Json& item : ItemsAt(object, {"spec", "ports"})) {
    model::Port port;
    port.number = PortAt(item, "port");
    if (port.number == 0) continue;
    port.name = StringAt(item, {"name"});
    port.target = port.number;
    if (const Json* target = Find(item, {"targetPort"}); target != nullptr) {
      if (target->is_string()) {
        port.target = 0;
        record.target_names[port.number] = target->get<std::string>();
      } else if (PortAt(item, "targetPort") != 0) {
        port.target = PortAt(item, "targetPort");
      }
    }
    port.node_port = PortAt(item, "nodePort");
    port.protocol = model::ParseProtocol(StringAt(item, {"protocol"}) == "UDP",
                                         StringAt(item, {"appProtocol"}), port.name, port.number);
    service.ports.push_back(std::move(port));
  }
}

void ReadAddresses(const Json& object, const model::ClusterId& cluster, ServiceRecord& record,
                   model::Service& service) {
  const std::string cluster_ip = StringAt(object, {"spec", "clusterIP"});
  if (service.kubernetes_type == "ExternalName") {
    service.resolution = model::Resolution::kAlias;
    service.alias_of = StringAt(object, {"spec", "externalName"});
  } else if (cluster_ip == "None") {
    service.headless = true;
    service.resolution = model::Resolution::kPassthrough;
    service.default_address = "0.0.0.0";
    service.cluster_vips[cluster] = {"0.0.0.0"};
  } else if (!cluster_ip.empty()) {
    service.default_address = cluster_ip;
    auto& vips = service.cluster_vips[cluster];
    vips.push_back(cluster_ip);
    for (const Json& ip : ItemsAt(object, {"spec", "clusterIPs"}))
      if (ip.is_string() && ip != cluster_ip) vips.push_back(ip.get<std::string>());
  }
  if (service.kubernetes_type == "LoadBalancer") {
    for (const Json& ingress : ItemsAt(object, {"status", "loadBalancer", "ingress"})) {
      std::string address = StringAt(ingress, {"ip"});
      if (address.empty()) address = StringAt(ingress, {"hostname"});
      if (!address.empty()) record.load_balancer.push_back(std::move(address));
    }
  }
  for (const Json& ip : ItemsAt(object, {"spec", "externalIPs"}))
    if (ip.is_string()) record.load_balancer.push_back(ip.get<std::string>());
  if (!record.load_balancer.empty()) service.external_addresses[cluster] = record.load_balancer;
}

void ReadServiceAnnotations(const Json& object, ServiceRecord& record, model::Service& service) {
  record.export_to = base::SplitList(kubeapi::AnnotationOf(object, "networking.istio.io/exportTo"));
  service.subject_alt_names =
      base::SplitList(kubeapi::AnnotationOf(object, "alpha.istio.io/canonical-serviceaccounts"));
  record.kubernetes_accounts =
      base::SplitList(kubeapi::AnnotationOf(object, "alpha.istio.io/kubernetes-serviceaccounts"));
  service.traffic_distribution =
      TrafficDistribution(StringAt(object, {"spec", "trafficDistribution"}));
  if (service.traffic_distribution.empty())
    service.traffic_distribution = TrafficDistribution(
        kubeapi::AnnotationOf(object, "networking.istio.io/traffic-distribution"));
  const Json* selector = Find(object, {"metadata", "annotations", "traffic.istio.io/nodeSelector"});
  if (selector != nullptr && selector->is_string()) {
    // Text that is no JSON object picks all nodes, as Istio has it.
    auto parsed = kubeapi::ParseJson(selector->get_ref<const std::string&>());
    record.node_selector = parsed.ok() ? ReadStrings(&*parsed) : model::Labels();
  }
}

std::string Decoded(const Json& object, std::string_view key) {
  auto bytes = base::Base64Decode(StringAt(object, {"data", key}));
  return bytes.ok() ? std::move(*bytes) : std::string();
}

}  // namespace

std::string HostnameOf(const std::string& name, const std::string& ns,
                       const std::string& domain_suffix) {
  return fmt::format("{}.{}.svc.{}", name, ns, domain_suffix);
}

std::string TrafficDistribution(const std::string& text) {
  if (base::EqualsIgnoreCase(text, "PreferClose") || base::EqualsIgnoreCase(text, "PreferSameZone"))
    return "PreferSameZone";
  return base::EqualsIgnoreCase(text, "PreferSameNode") ? "PreferSameNode" : "";
}

bool IsLeader(const std::vector<std::string>& leaders, std::string_view cluster) {
  return std::any_of(leaders.begin(), leaders.end(),
                     [&](const std::string& name) { return name == "*" || name == cluster; });
}

NamespaceRecord ReadNamespace(const Json& object, LabelPool& pool) {
  return {pool.Intern(ReadStrings(Find(object, {"metadata", "labels"}))),
          kubeapi::AnnotationOf(object, "networking.istio.io/traffic-distribution"),
          kubeapi::AnnotationOf(object, kLeadersAnnotation)};
}

NodeRecord ReadNode(const Json& object, LabelPool& pool) {
  NodeRecord node;
  node.labels = pool.Intern(ReadStrings(Find(object, {"metadata", "labels"})));
  node.locality.region =
      Label(*node.labels, kRegionLabel, "failure-domain.beta.kubernetes.io/region");
  node.locality.zone = Label(*node.labels, kZoneLabel, "failure-domain.beta.kubernetes.io/zone");
  node.locality.subzone = Label(*node.labels, kSubzoneLabel);
  for (const Json& address : ItemsAt(object, {"status", "addresses"})) {
    if (StringAt(address, {"type"}) != "ExternalIP") continue;
    node.external_ip = StringAt(address, {"address"});
    break;
  }
  return node;
}

std::optional<PodRecord> ReadPod(const Json& object, LabelPool& pool) {
  const std::string phase = StringAt(object, {"status", "phase"});
  if (phase == "Failed" || phase == "Succeeded") return std::nullopt;
  PodRecord pod;
  for (const Json& ip : ItemsAt(object, {"status", "podIPs"}))
    if (std::string address = StringAt(ip, {"ip"}); !address.empty())
      pod.addresses.push_back(std::move(address));
  if (pod.addresses.empty())
    if (std::string address = StringAt(object, {"status", "podIP"}); !address.empty())
      pod.addresses.push_back(std::move(address));
  pod.labels = pool.Intern(ReadStrings(Find(object, {"metadata", "labels"})));
  pod.service_account = StringAt(object, {"spec", "serviceAccountName"});
  if (pod.service_account.empty()) pod.service_account = "default";
  pod.node = StringAt(object, {"spec", "nodeName"});
  pod.ready = kubeapi::ConditionIsTrue(object, "Ready");
  pod.workload = WorkloadOf(object, kubeapi::NameOf(object));
  LabelPool::Ports ports;
  for (const Json& container : ItemsAt(object, {"spec", "containers"}))
    for (const Json& port : ItemsAt(container, {"ports"}))
      if (std::string name = StringAt(port, {"name"}); !name.empty())
        ports.emplace(std::move(name), PortAt(port, "containerPort"));
  pod.container_ports = pool.InternPorts(std::move(ports));
  return pod;
}

ServiceRecord ReadService(const Json& object, const model::ClusterId& cluster,
                          const std::string& domain_suffix) {
  ServiceRecord record;
  auto service = std::make_shared<model::Service>();
  service->name = kubeapi::NameOf(object);
  service->ns = kubeapi::NamespaceOf(object);
  service->hostname = HostnameOf(service->name, service->ns, domain_suffix);
  if (auto created = base::ParseTime(StringAt(object, {"metadata", "creationTimestamp"}));
      created.ok())
    service->created = *created;
  service->labels = ReadStrings(Find(object, {"metadata", "labels"}));
  service->selector = ReadStrings(Find(object, {"spec", "selector"}));
  service->kubernetes_type = StringAt(object, {"spec", "type"});
  if (service->kubernetes_type.empty()) service->kubernetes_type = "ClusterIP";
  service->node_local = StringAt(object, {"spec", "internalTrafficPolicy"}) == "Local";
  service->publish_not_ready = BoolAt(object, {"spec", "publishNotReadyAddresses"});
  ReadServicePorts(object, record, *service);
  ReadAddresses(object, cluster, record, *service);
  ReadServiceAnnotations(object, record, *service);
  record.service = std::move(service);
  return record;
}

std::optional<SliceRecord> ReadSlice(const Json& object) {
  SliceRecord slice;
  slice.service = kubeapi::LabelOf(object, "kubernetes.io/service-name");
  if (slice.service.empty() || StringAt(object, {"addressType"}) == "FQDN" ||
      !kubeapi::LabelOf(object, "multicluster.kubernetes.io/service-name").empty())
    return std::nullopt;
  slice.standby = kubeapi::LabelOf(object, kManagedByLabel) == kStandbyManager;
  for (const Json& port : ItemsAt(object, {"ports"}))
    if (const uint16_t number = PortAt(port, "port"); number != 0)
      slice.ports.emplace_back(StringAt(port, {"name"}), number);
  for (const Json& item : ItemsAt(object, {"endpoints"})) {
    SliceEndpoint endpoint;
    if (StringAt(item, {"targetRef", "kind"}) == "Pod") {
      endpoint.pod = StringAt(item, {"targetRef", "name"});
      endpoint.pod_ns = StringAt(item, {"targetRef", "namespace"});
      if (endpoint.pod_ns.empty()) endpoint.pod_ns = kubeapi::NamespaceOf(object);
    }
    endpoint.node = StringAt(item, {"nodeName"});
    endpoint.hostname = StringAt(item, {"hostname"});
    endpoint.ready = BoolAt(item, {"conditions", "ready"}, true);
    endpoint.serving = BoolAt(item, {"conditions", "serving"}, endpoint.ready);
    endpoint.terminating = BoolAt(item, {"conditions", "terminating"});
    for (const Json& address : ItemsAt(item, {"addresses"})) {
      if (!address.is_string()) continue;
      endpoint.address = address.get<std::string>();
      slice.endpoints.push_back(endpoint);
    }
  }
  return slice;
}

std::optional<model::Credential> ReadCredential(const Json& object) {
  const std::string type = StringAt(object, {"type"});
  if (type == "kubernetes.io/service-account-token" || type == "helm.sh/release.v1")
    return std::nullopt;
  model::Credential credential;
  credential.certificate_pem = Decoded(object, "tls.crt");
  credential.key_pem = Decoded(object, "tls.key");
  credential.ca_pem = Decoded(object, "ca.crt");
  // The names of the oldest guides.
  if (credential.certificate_pem.empty()) credential.certificate_pem = Decoded(object, "cert");
  if (credential.key_pem.empty()) credential.key_pem = Decoded(object, "key");
  if (credential.ca_pem.empty()) credential.ca_pem = Decoded(object, "cacert");
  if (credential.certificate_pem.empty() && credential.ca_pem.empty()) return std::nullopt;
  return credential;
}

}  // namespace isthmus::registry
