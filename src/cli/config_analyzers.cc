#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "cli/analysis.h"
#include "config/kinds.h"
#include "config/validate.h"
#include "kubeapi/meta.h"
#include "kubeapi/selector.h"

namespace isthmus::cli {
namespace {

using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::ItemsAt;
using kubeapi::KeyOf;
using kubeapi::NamespaceOf;
using kubeapi::StringAt;
using kubeapi::StringsAt;

constexpr std::string_view kNetworking = "networking.istio.io";

void CheckSchemas(const AnalysisWorld& world, AnalysisReport& report) {
  for (const config::Kind& kind : config::Kinds()) {
    world.Each(kind.group, kind.kind,
               [&](const AnalysisCluster& cluster, const Document& document) {
                 const config::Validation found = config::Validate(kind, document.object);
                 for (const config::Issue& issue : found.errors)
                   report.Add("IST0106", Severity::kError, cluster, document,
                              "Schema validation error: " + issue.text());
                 for (const config::Issue& issue : found.warnings)
                   report.Add("IST0133", Severity::kWarning, cluster, document,
                              "Schema validation warning: " + issue.text());
               });
  }
}

/// All destinations of a VirtualService.
std::vector<const Json*> DestinationsOf(const Json& service) {
  std::vector<const Json*> found;
  for (const char* protocol : {"http", "tls", "tcp"})
    for (const Json& route : ItemsAt(service, {"spec", protocol})) {
      for (const Json& target : ItemsAt(route, {"route"}))
        if (const Json* destination = Find(target, {"destination"}); destination != nullptr)
          found.push_back(destination);
      if (const Json* mirror = Find(route, {"mirror"}); mirror != nullptr) found.push_back(mirror);
    }
  return found;
}

/// Whether a DestinationRule of any namespace gives `host` the subset.
bool HasSubset(const AnalysisWorld& world, const std::string& host, const std::string& ns,
               const std::string& subset) {
  const auto full = [](const std::string& name, const std::string& in) {
    if (name.find('.') != name.npos && !name.starts_with("*"))
      return name.substr(0, name.find(".svc"));
    return name + "." + in;
  };
  bool found = false;
  world.Each(kNetworking, "DestinationRule", [&](const AnalysisCluster&, const Document& document) {
    if (full(StringAt(document.object, {"spec", "host"}), NamespaceOf(document.object)) !=
        full(host, ns))
      return;
    for (const Json& one : ItemsAt(document.object, {"spec", "subsets"}))
      found = found || StringAt(one, {"name"}) == subset;
  });
  return found;
}

void CheckVirtualServices(const AnalysisWorld& world, AnalysisReport& report) {
  std::map<std::string, std::string> mesh_hosts;
  world.Each(
      kNetworking, "VirtualService", [&](const AnalysisCluster& cluster, const Document& document) {
        const Json& service = document.object;
        const std::string ns = NamespaceOf(service);
        std::vector<std::string> gateways = StringsAt(service, {"spec", "gateways"});
        for (const std::string& name : gateways) {
          if (name == "mesh") continue;
          const auto [first, second] = base::Cut(name, "/");
          const std::string gateway_ns(second.empty() ? std::string_view(ns) : first);
          const std::string_view gateway = second.empty() ? first : second;
          if (!world.Has(kNetworking, "Gateway", gateway_ns, gateway))
            report.Add("IST0101", Severity::kError, cluster, document,
                       fmt::format("Referenced gateway not found: \"{}\"", name));
        }
        for (const Json* destination : DestinationsOf(service)) {
          const std::string host = StringAt(*destination, {"host"});
          if (host.empty()) continue;
          if (!world.HasHost(host, ns)) {
            report.Add("IST0101", Severity::kError, cluster, document,
                       fmt::format("Referenced host not found: \"{}\"", host));
            continue;
          }
          const std::string subset = StringAt(*destination, {"subset"});
          if (!subset.empty() && !HasSubset(world, host, ns, subset))
            report.Add("IST0101", Severity::kError, cluster, document,
                       fmt::format("Referenced host+subset in destinationrule not found: \"{}+{}\"",
                                   host, subset));
        }
        const bool in_mesh = gateways.empty() ||
                             std::find(gateways.begin(), gateways.end(), "mesh") != gateways.end();
        for (const std::string& host : StringsAt(service, {"spec", "hosts"})) {
          const std::string full = host.find('.') == host.npos ? host + "." + ns : host;
          if (!in_mesh) continue;
          const auto [it, fresh] = mesh_hosts.emplace(cluster.name + "|" + full, KeyOf(service));
          if (!fresh && it->second != KeyOf(service))
            report.Add("IST0109", Severity::kError, cluster, document,
                       fmt::format("The VirtualServices {},{} associated with mesh gateway define "
                                   "the same host {} which can lead "
                                   "to undefined behavior.",
                                   it->second, KeyOf(service), host));
        }
      });
}

void CheckDestinationRules(const AnalysisWorld& world, AnalysisReport& report) {
  world.Each(kNetworking, "DestinationRule",
             [&](const AnalysisCluster& cluster, const Document& document) {
               const std::string host = StringAt(document.object, {"spec", "host"});
               const std::string ns = NamespaceOf(document.object);
               if (!host.empty() && !world.HasHost(host, ns)) {
                 report.Add("IST0174", Severity::kWarning, cluster, document,
                            fmt::format("The host {} defined in the DestinationRule does not match "
                                        "any services in the mesh.",
                                        host));
                 return;
               }
               for (const Json& subset : ItemsAt(document.object, {"spec", "subsets"})) {
                 const Json* labels = Find(subset, {"labels"});
                 if (labels == nullptr || labels->empty() || !world.live) continue;
                 const auto selector = kubeapi::LabelSelector::FromLabels(*labels);
                 bool any = false;
                 world.Each("", "Pod", [&](const AnalysisCluster&, const Document& pod) {
                   any = any || selector.MatchesObject(pod.object);
                 });
                 if (!any)
                   report.Add(
                       "IST0173", Severity::kError, cluster, document,
                       fmt::format(
                           "The Subset {} defined in the DestinationRule does not select any pods.",
                           StringAt(subset, {"name"})));
               }
             });
}

/// The Services through which the pods of a Gateway's selector are reached.
std::vector<const Json*> ServicesOf(const AnalysisCluster& cluster,
                                    const kubeapi::LabelSelector& selector, bool& pods) {
  std::vector<const Json*> services;
  for (const Document& pod : cluster.objects) {
    if (kubeapi::KindOf(pod.object) != "Pod" || !selector.MatchesObject(pod.object)) continue;
    pods = true;
    for (const Document& service : cluster.objects) {
      if (kubeapi::KindOf(service.object) != "Service" ||
          NamespaceOf(service.object) != NamespaceOf(pod.object))
        continue;
      const Json* labels = Find(service.object, {"spec", "selector"});
      if (labels != nullptr && labels->is_object() && !labels->empty() &&
          kubeapi::LabelSelector::FromLabels(*labels).MatchesObject(pod.object))
        services.push_back(&service.object);
    }
  }
  return services;
}

void CheckGateways(const AnalysisWorld& world, AnalysisReport& report) {
  world.Each(kNetworking, "Gateway", [&](const AnalysisCluster& cluster, const Document& document) {
    const Json* labels = Find(document.object, {"spec", "selector"});
    if (labels != nullptr && labels->is_object() && !labels->empty() && world.live) {
      const auto selector = kubeapi::LabelSelector::FromLabels(*labels);
      bool pods = false;
      const std::vector<const Json*> services = ServicesOf(cluster, selector, pods);
      if (!pods) {
        report.Add("IST0101", Severity::kError, cluster, document,
                   fmt::format("Referenced selector not found: \"{}\"", selector.ToString()));
        return;
      }
      for (const Json& server : ItemsAt(document.object, {"spec", "servers"})) {
        const int64_t port = IntAt(server, {"port", "number"});
        bool open = services.empty();
        for (const Json* service : services)
          for (const Json& one : ItemsAt(*service, {"spec", "ports"}))
            open = open || IntAt(one, {"port"}) == port || IntAt(one, {"targetPort"}) == port;
        if (!open)
          report.Add("IST0162", Severity::kWarning, cluster, document,
                     fmt::format("The gateway is listening on a target port (port {}) that is not "
                                 "defined in the Service "
                                 "associated with its workload instances (Pod selector {})",
                                 port, selector.ToString()));
      }
    }
    for (const Json& server : ItemsAt(document.object, {"spec", "servers"})) {
      const std::string credential = StringAt(server, {"tls", "credentialName"});
      if (credential.empty() || !world.live) continue;
      bool found = false;
      world.Each("", "Secret", [&](const AnalysisCluster&, const Document& secret) {
        found = found || kubeapi::NameOf(secret.object) == credential;
      });
      if (!found)
        report.Add("IST0101", Severity::kError, cluster, document,
                   fmt::format("Referenced credentialName not found: \"{}\"", credential));
    }
  });
}

void CheckSidecars(const AnalysisWorld& world, AnalysisReport& report) {
  std::map<std::string, int> plain;
  world.Each(kNetworking, "Sidecar", [&](const AnalysisCluster& cluster, const Document& document) {
    const Json* labels = Find(document.object, {"spec", "workloadSelector", "labels"});
    if (labels != nullptr && !labels->empty()) return;
    const std::string ns = cluster.name + "|" + NamespaceOf(document.object);
    if (++plain[ns] > 1)
      report.Add("IST0111", Severity::kError, cluster, document,
                 fmt::format("Namespace {} has several Sidecars without a workload selector; which "
                             "of them applies is undefined.",
                             NamespaceOf(document.object)));
  });
}

void CheckPortNames(const AnalysisWorld& world, AnalysisReport& report) {
  world.Each("", "Service", [&](const AnalysisCluster& cluster, const Document& document) {
    const std::string ns = NamespaceOf(document.object);
    if (ns == "kube-system" || ns == "default" || ns == world.istio_ns()) return;
    for (const Json& port : ItemsAt(document.object, {"spec", "ports"})) {
      if (!StringAt(port, {"appProtocol"}).empty() || StringAt(port, {"protocol"}) == "UDP")
        continue;
      const std::string name = StringAt(port, {"name"});
      const std::string word = name.substr(0, name.find('-'));
      constexpr std::string_view kKnown = " http http2 https grpc mongo mysql redis tcp tls udp ";
      if (kKnown.find(fmt::format(" {} ", word)) == kKnown.npos)
        report.Add(
            "IST0118", Severity::kInfo, cluster, document,
            fmt::format(
                "Port name {} (port: {}) doesn't follow the naming convention of Istio port.", name,
                IntAt(port, {"port"})));
    }
  });
}

}  // namespace

const std::vector<Analyzer>& ConfigAnalyzers() {
  static const std::vector<Analyzer> kAnalyzers = {
      {"schema.ValidationAnalyzer", "Checks each object of Istio against its schema", CheckSchemas},
      {"virtualservice.DestinationHostAnalyzer",
       "Checks gateways, hosts and subsets that VirtualServices name", CheckVirtualServices},
      {"destinationrule.SubsetSelectPodAnalyzer", "Checks hosts and subsets of DestinationRules",
       CheckDestinationRules},
      {"gateway.IngressGatewayPortAnalyzer", "Checks selectors, ports and credentials of Gateways",
       CheckGateways},
      {"sidecar.DefaultSelectorAnalyzer", "Checks for Sidecars in each other's way", CheckSidecars},
      {"service.PortNameAnalyzer", "Checks the names of service ports", CheckPortNames},
  };
  return kAnalyzers;
}

}  // namespace isthmus::cli
