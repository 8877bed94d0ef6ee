#include "lab/apiserver/service_strategy.h"

#include <fmt/format.h>

#include "base/net.h"
#include "kubeapi/meta.h"
#include "lab/apiserver/allocator.h"
#include "lab/apiserver/names.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StatusCause;
using kubeapi::StringAt;

bool WantsNodePorts(const Json& spec) {
  const std::string type = StringAt(spec, {"type"});
  return type == "NodePort" ||
         (type == "LoadBalancer" && kubeapi::BoolAt(spec, {"allocateLoadBalancerNodePorts"}, true));
}

/// The node port that `old` has for the same port, so that an update without it keeps it.
int64_t FormerNodePort(const Json* old, const Json& port) {
  if (!old) return 0;
  const Json* ports = Find(*old, {"spec", "ports"});
  if (!ports || !ports->is_array()) return 0;
  for (const Json& each : *ports)
    if (IntAt(each, {"port"}) == IntAt(port, {"port"}) &&
        StringAt(each, {"protocol"}) == StringAt(port, {"protocol"}))
      return IntAt(each, {"nodePort"});
  return 0;
}

void AllocateNodePorts(const Allocator& allocator, const std::string& owner, const Json* old,
                       Json* spec, std::vector<StatusCause>* causes) {
  std::set<int> used;
  Json* ports = spec->contains("ports") ? &(*spec)["ports"] : nullptr;
  if (!ports || !ports->is_array()) return;
  std::map<int64_t, int64_t> by_port;  // TCP and UDP of one port share a node port.
  for (Json& port : *ports)
    if (IntAt(port, {"nodePort"}) == 0)
      if (const int64_t former = FormerNodePort(old, port)) port["nodePort"] = former;
  for (const Json& port : *ports) used.insert(static_cast<int>(IntAt(port, {"nodePort"})));
  for (size_t i = 0; i < ports->size(); ++i) {
    Json& port = (*ports)[i];
    const int64_t number = IntAt(port, {"nodePort"});
    const std::string field = fmt::format("spec.ports[{}].nodePort", i);
    if (number) {
      const int64_t former = FormerNodePort(old, port);
      if (!allocator.PortInRange(static_cast<int>(number)) && number != former) {
        causes->push_back({"FieldValueInvalid",
                           fmt::format("Invalid value: {}: provided port is not in the valid "
                                       "range. The range of valid ports is {}-{}",
                                       number, allocator.port_min(), allocator.port_max()),
                           field});
      } else if (allocator.PortTaken(static_cast<int>(number), StringAt(port, {"protocol"}),
                                     owner)) {
        causes->push_back(
            {"FieldValueInvalid",
             fmt::format("Invalid value: {}: provided port is already allocated", number), field});
      }
      by_port[IntAt(port, {"port"})] = number;
      continue;
    }
    if (auto it = by_port.find(IntAt(port, {"port"})); it != by_port.end()) {
      port["nodePort"] = it->second;
      continue;
    }
    auto free = allocator.FreePort(used);
    if (!free) {
      causes->push_back({"FieldValueInvalid",
                         "Invalid value: 0: failed to allocate a nodePort: range is full", field});
      return;
    }
    used.insert(*free);
    port["nodePort"] = *free;
    by_port[IntAt(port, {"port"})] = *free;
  }
}

}  // namespace

std::vector<StatusCause> AllocateService(const Engine& engine, const Json* old, Json* service) {
  std::vector<StatusCause> causes;
  if (!engine.allocator) return causes;
  Json& spec = (*service)["spec"];
  const std::string type = StringAt(spec, {"type"});
  const std::string owner = kubeapi::NamespaceOf(*service) + "/" + kubeapi::NameOf(*service);
  if (type == "ExternalName") {
    for (const char* field :
         {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy",
          "externalTrafficPolicy", "allocateLoadBalancerNodePorts"})
      spec.erase(field);
    if (Json* ports = spec.contains("ports") ? &spec["ports"] : nullptr; ports && ports->is_array())
      for (Json& port : *ports) port.erase("nodePort");
    return causes;
  }
  std::string ip = StringAt(spec, {"clusterIP"});
  if (ip.empty()) {
    if (const Json* ips = Find(spec, {"clusterIPs"});
        ips && ips->is_array() && !ips->empty() && (*ips)[0].is_string())
      ip = (*ips)[0];
  }
  const std::string former = old && StringAt(*old, {"spec", "type"}) != "ExternalName"
                                 ? StringAt(*old, {"spec", "clusterIP"})
                                 : "";
  if (!former.empty() && ip.empty()) ip = former;
  if (!former.empty() && ip != former) {
    causes.push_back({"FieldValueInvalid",
                      fmt::format("Invalid value: [\"{}\"]: may not change once set", ip),
                      "spec.clusterIPs[0]"});
    return causes;
  }
  if (ip.empty()) {
    auto free = engine.allocator->FreeAddress();
    if (!free) {
      causes.push_back({"FieldValueInvalid",
                        "Invalid value: []: failed to allocate IP: range is full",
                        "spec.clusterIPs"});
      return causes;
    }
    ip = *free;
  } else if (ip != "None" && ip != former) {
    if (!base::IsIpAddress(ip)) {
      causes.push_back({"FieldValueInvalid",
                        fmt::format("Invalid value: \"{}\": must be a valid IP address, (e.g. "
                                    "10.9.8.7 or 2001:db8::ffff)",
                                    ip),
                        "spec.clusterIPs[0]"});
    } else if (!engine.allocator->ContainsAddress(ip)) {
      causes.push_back({"FieldValueInvalid",
                        fmt::format("Invalid value: [\"{}\"]: failed to allocate IP {}: the "
                                    "provided IP ({}) is not in the valid range. "
                                    "The range of valid IPs is {}",
                                    ip, ip, ip, engine.allocator->cidr()),
                        "spec.clusterIPs"});
    } else if (engine.allocator->AddressTaken(ip, owner)) {
      causes.push_back({"FieldValueInvalid",
                        fmt::format("Invalid value: [\"{}\"]: failed to allocate IP {}: provided "
                                    "IP is already allocated",
                                    ip, ip),
                        "spec.clusterIPs"});
    }
    if (!causes.empty()) return causes;
  }
  spec["clusterIP"] = ip;
  spec["clusterIPs"] = Json::array({ip});
  // A headless service without a selector may have endpoints of any family.
  const bool open = ip == "None" && !Find(spec, {"selector"});
  if (!spec.contains("ipFamilies"))
    spec["ipFamilies"] = open ? Json::array({"IPv4", "IPv6"}) : Json::array({"IPv4"});
  if (!spec.contains("ipFamilyPolicy"))
    spec["ipFamilyPolicy"] = open ? "RequireDualStack" : "SingleStack";
  if (!spec.contains("internalTrafficPolicy")) spec["internalTrafficPolicy"] = "Cluster";
  const bool external = type == "NodePort" || type == "LoadBalancer";
  if (external && !spec.contains("externalTrafficPolicy"))
    spec["externalTrafficPolicy"] = "Cluster";
  const Json* ips = Find(spec, {"externalIPs"});
  if (!external && (!ips || ips->empty())) spec.erase("externalTrafficPolicy");
  if (type == "LoadBalancer") {
    if (!spec.contains("allocateLoadBalancerNodePorts"))
      spec["allocateLoadBalancerNodePorts"] = true;
  } else {
    spec.erase("allocateLoadBalancerNodePorts");
    (*service)["status"]["loadBalancer"] = Json::object();
  }
  if (WantsNodePorts(spec)) {
    AllocateNodePorts(*engine.allocator, owner, old, &spec, &causes);
    if (type == "LoadBalancer" && StringAt(spec, {"externalTrafficPolicy"}) == "Local" &&
        IntAt(spec, {"healthCheckNodePort"}) == 0)
      if (auto free = engine.allocator->FreePort({})) spec["healthCheckNodePort"] = *free;
  } else if (!external && spec.contains("ports") && spec["ports"].is_array()) {
    for (Json& port : spec["ports"]) port.erase("nodePort");
  }
  return causes;
}

void ValidateService(const Json& service, const Json* old, std::vector<StatusCause>* causes) {
  const Json* found = Find(service, {"spec"});
  if (!found || !found->is_object()) {
    causes->push_back({"FieldValueRequired", "Required value", "spec"});
    return;
  }
  const std::string type = StringAt(*found, {"type"});
  if (type != "ClusterIP" && type != "NodePort" && type != "LoadBalancer" && type != "ExternalName")
    causes->push_back(
        {"FieldValueNotSupported",
         fmt::format(
             "Unsupported value: \"{}\": supported values: \"ClusterIP\", \"ExternalName\", "
             "\"LoadBalancer\", \"NodePort\"",
             type),
         "spec.type"});
  const Json* ports = Find(*found, {"ports"});
  const size_t count = ports && ports->is_array() ? ports->size() : 0;
  if (type == "ExternalName") {
    if (StringAt(*found, {"externalName"}).empty())
      causes->push_back({"FieldValueRequired", "Required value", "spec.externalName"});
  } else if (count == 0 && StringAt(*found, {"clusterIP"}) != "None") {
    causes->push_back({"FieldValueRequired", "Required value", "spec.ports"});
  }
  std::set<std::string> names;
  std::set<std::pair<int64_t, std::string>> taken;
  for (size_t i = 0; i < count; ++i) {
    const Json& port = (*ports)[i];
    const std::string at = fmt::format("spec.ports[{}]", i);
    const std::string name = StringAt(port, {"name"}), protocol = StringAt(port, {"protocol"});
    if (name.empty() && count > 1)
      causes->push_back({"FieldValueRequired", "Required value", at + ".name"});
    if (!name.empty() && !kubeapi::IsDnsLabel(name))
      causes->push_back(NotADnsLabel(at + ".name", name));
    if (!name.empty() && !names.insert(name).second)
      causes->push_back(
          {"FieldValueDuplicate", fmt::format("Duplicate value: \"{}\"", name), at + ".name"});
    const int64_t number = IntAt(port, {"port"});
    if (number < 1 || number > 65535)
      causes->push_back(
          {"FieldValueInvalid",
           fmt::format("Invalid value: {}: must be between 1 and 65535, inclusive", number),
           at + ".port"});
    if (protocol != "TCP" && protocol != "UDP" && protocol != "SCTP")
      causes->push_back(
          {"FieldValueNotSupported",
           fmt::format("Unsupported value: \"{}\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                       protocol),
           at + ".protocol"});
    if (!taken.insert({number, protocol}).second)
      causes->push_back(
          {"FieldValueDuplicate",
           fmt::format("Duplicate value: {{\"port\":{},\"protocol\":\"{}\"}}", number, protocol),
           at});
  }
}

}  // namespace isthmus::lab::apiserver
