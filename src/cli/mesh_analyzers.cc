#include <fmt/format.h>

#include <algorithm>

#include "base/encoding.h"
#include "base/strings.h"
#include "cli/analysis.h"
#include "kubeapi/meta.h"
#include "pki/certificate.h"

namespace isthmus::cli {
namespace {

using kubeapi::Find;
using kubeapi::ItemsAt;
using kubeapi::LabelOf;
using kubeapi::NameOf;
using kubeapi::NamespaceOf;
using kubeapi::StringAt;

bool IsSystem(const AnalysisWorld& world, const std::string& ns) {
  return ns.starts_with("kube-") || ns == world.istio_ns() || ns == "local-path-storage";
}

bool Injects(const Json& ns) {
  return LabelOf(ns, "istio-injection") == "enabled" ||
         (!LabelOf(ns, "istio.io/rev").empty() && LabelOf(ns, "istio-injection").empty());
}

bool HasProxy(const Json& pod) {
  for (const char* list : {"containers", "initContainers"})
    for (const Json& container : ItemsAt(pod, {"spec", list}))
      if (StringAt(container, {"name"}) == "istio-proxy") return true;
  return false;
}

void CheckInjection(const AnalysisWorld& world, AnalysisReport& report) {
  std::map<std::string, bool> injects;
  world.Each("", "Namespace", [&](const AnalysisCluster& cluster, const Document& document) {
    const std::string name = NameOf(document.object);
    injects[cluster.name + "|" + name] = Injects(document.object);
    if (IsSystem(world, name)) return;
    const bool injection = !LabelOf(document.object, "istio-injection").empty();
    const bool revision = !LabelOf(document.object, "istio.io/rev").empty();
    if (injection && revision)
      report.Add("IST0123", Severity::kWarning, cluster, document,
                 fmt::format(
                     "The namespace has both new and legacy injection labels: istio.io/rev is "
                     "ignored. Run 'kubectl label "
                     "namespace {} istio-injection-' or 'kubectl label namespace {} istio.io/rev-'",
                     name, name));
    else if (!injection && !revision && LabelOf(document.object, "istio.io/dataplane-mode").empty())
      report.Add(
          "IST0102", Severity::kInfo, cluster, document,
          fmt::format(
              "The namespace is not enabled for Istio injection. Run 'kubectl label namespace {} "
              "istio-injection=enabled' to enable it, or 'kubectl label namespace {} "
              "istio-injection=disabled' to "
              "explicitly mark it as not needing injection.",
              name, name));
  });
  world.Each("", "Pod", [&](const AnalysisCluster& cluster, const Document& document) {
    const Json& pod = document.object;
    if (IsSystem(world, NamespaceOf(pod))) return;
    for (const Json& container : ItemsAt(pod, {"spec", "containers"}))
      if (StringAt(container, {"image"}) == "auto")
        report.Add("IST0147", Severity::kError, cluster, document,
                   "Image `auto` was not replaced: no injection webhook changed this pod. Is "
                   "istiod ready, and its webhook's caBundle set?");
    if (!injects[cluster.name + "|" + NamespaceOf(pod)] || HasProxy(pod)) return;
    if (LabelOf(pod, "sidecar.istio.io/inject") == "false" ||
        StringAt(pod, {"status", "phase"}) == "Succeeded")
      return;
    report.Add("IST0103", Severity::kWarning, cluster, document,
               fmt::format("The pod {} is missing the Istio proxy. This can often be resolved by "
                           "restarting or redeploying the workload.",
                           NameOf(pod)));
  });
}

/// Cluster IDs that meshNetworks may name: the data keys of remote secrets, and a few fixed words.
std::set<std::string> KnownRegistries(const AnalysisWorld& world) {
  std::set<std::string> known = {"Kubernetes", "External", "Mock"};
  world.Each("", "Secret", [&known](const AnalysisCluster&, const Document& document) {
    if (LabelOf(document.object, "istio/multiCluster") != "true") return;
    for (const char* field : {"data", "stringData"})
      if (const Json* data = Find(document.object, {field}); data != nullptr && data->is_object())
        for (const auto& [key, value] : data->items()) known.insert(key);
  });
  for (const AnalysisCluster& cluster : world.clusters()) known.insert(cluster.name);
  return known;
}

void CheckMeshNetworks(const AnalysisWorld& world, AnalysisReport& report) {
  const std::set<std::string> known = KnownRegistries(world);
  world.Each("", "ConfigMap", [&](const AnalysisCluster& cluster, const Document& document) {
    if (NamespaceOf(document.object) != world.istio_ns() || NameOf(document.object) != "istio")
      return;
    const auto networks = kubeapi::ParseYaml(StringAt(document.object, {"data", "meshNetworks"}));
    if (!networks.ok()) {
      report.Add("IST0106", Severity::kError, cluster, document,
                 "meshNetworks: " + networks.status().message());
      return;
    }
    const Json* map = Find(*networks, {"networks"});
    if (map == nullptr || !map->is_object()) return;
    for (const auto& [network, value] : map->items())
      for (const Json& endpoint : ItemsAt(value, {"endpoints"}))
        if (const std::string registry = StringAt(endpoint, {"fromRegistry"});
            !registry.empty() && !known.contains(registry))
          report.Add("IST0126", Severity::kError, cluster, document,
                     fmt::format("Unknown registry {} for network {}", registry, network));
  });
}

void CheckWebhooks(const AnalysisWorld& world, AnalysisReport& report) {
  for (const char* kind : {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}) {
    world.Each(
        "admissionregistration.k8s.io", kind,
        [&](const AnalysisCluster& cluster, const Document& document) {
          const std::string name = NameOf(document.object);
          if (name.find("istio") == name.npos) return;
          for (const Json& webhook : ItemsAt(document.object, {"webhooks"})) {
            const Json* service = Find(webhook, {"clientConfig", "service"});
            if (service == nullptr) continue;
            bool found = false;
            for (const Document& one : cluster.objects)
              found = found || (kubeapi::KindOf(one.object) == "Service" &&
                                NameOf(one.object) == StringAt(*service, {"name"}) &&
                                NamespaceOf(one.object) == StringAt(*service, {"namespace"}));
            if (!found)
              report.Add("IST0139", Severity::kError, cluster, document,
                         fmt::format("The webhook {} refers to a control plane service '{}/{}' "
                                     "that does not exist",
                                     StringAt(webhook, {"name"}), StringAt(*service, {"namespace"}),
                                     StringAt(*service, {"name"})));
            else if (StringAt(webhook, {"clientConfig", "caBundle"}).empty())
              report.Add("IST0139", Severity::kError, cluster, document,
                         fmt::format("The webhook {} has no caBundle yet; istiod sets it when it "
                                     "is ready and may write here",
                                     StringAt(webhook, {"name"})));
          }
        });
  }
}

/// What must be the same of a Service in all clusters.
struct ServiceShape {
  std::string cluster;
  bool headless = false;
  std::string type;
  std::string ports;
};

void CheckServicesAcrossClusters(const AnalysisWorld& world, AnalysisReport& report) {
  std::map<std::string, ServiceShape> first;
  world.Each("", "Service", [&](const AnalysisCluster& cluster, const Document& document) {
    const Json& service = document.object;
    const std::string ns = NamespaceOf(service);
    if (IsSystem(world, ns) || ns == "default") return;
    ServiceShape shape{cluster.name, StringAt(service, {"spec", "clusterIP"}) == "None",
                       StringAt(service, {"spec", "type"}), ""};
    if (shape.type.empty()) shape.type = "ClusterIP";
    for (const Json& port : ItemsAt(service, {"spec", "ports"}))
      shape.ports +=
          fmt::format("{}/{} ", kubeapi::IntAt(port, {"port"}), StringAt(port, {"name"}));
    const auto [it, fresh] = first.emplace(kubeapi::KeyOf(service), shape);
    if (fresh || it->second.cluster == cluster.name) return;
    std::vector<std::string> reasons;
    if (it->second.headless != shape.headless) reasons.push_back("headless in one only");
    if (it->second.type != shape.type)
      reasons.push_back(fmt::format("type {} and {}", it->second.type, shape.type));
    if (it->second.ports != shape.ports) reasons.push_back("different ports");
    if (!reasons.empty())
      report.Add(
          "IST0170", Severity::kWarning, cluster, document,
          fmt::format("The services {} in namespace {} across clusters {},{} are inconsistent: {}",
                      NameOf(service), ns, it->second.cluster, cluster.name,
                      base::Join(reasons, ", ")));
  });
}

bool HasAddress(const Json& service) {
  return !ItemsAt(service, {"spec", "externalIPs"}).empty() ||
         !ItemsAt(service, {"status", "loadBalancer", "ingress"}).empty() ||
         !kubeapi::AnnotationOf(service, "traffic.istio.io/nodeSelector").empty();
}

/// The steps that join networks, each of which fails silently when forgotten.
void CheckNetworks(const AnalysisWorld& world, AnalysisReport& report) {
  for (const AnalysisCluster& cluster : world.clusters()) {
    std::string label, value;
    const Document* system = nullptr;
    for (const Document& document : cluster.objects) {
      const Json& object = document.object;
      if (kubeapi::KindOf(object) == "Namespace" && NameOf(object) == world.istio_ns()) {
        system = &document;
        label = LabelOf(object, "topology.istio.io/network");
      }
      if (kubeapi::KindOf(object) == "ConfigMap" && NameOf(object) == "istio-sidecar-injector" &&
          NamespaceOf(object) == world.istio_ns())
        if (const auto values = kubeapi::ParseJson(StringAt(object, {"data", "values"}));
            values.ok())
          value = StringAt(*values, {"global", "network"});
      if (kubeapi::KindOf(object) == "Service" &&
          !LabelOf(object, "topology.istio.io/network").empty() && !HasAddress(object))
        report.Add("ISM0002", Severity::kError, cluster, document,
                   fmt::format("The gateway of network {} has no address, so no other network can "
                               "send to it. Wait for the load "
                               "balancer, or set spec.externalIPs.",
                               LabelOf(object, "topology.istio.io/network")));
    }
    if (system == nullptr || value.empty() || value == label) continue;
    report.Add("ISM0001", label.empty() ? Severity::kError : Severity::kWarning, cluster, *system,
               fmt::format("Proxies are on network \"{}\", but the namespace says \"{}\". Run "
                           "'kubectl label namespace {} "
                           "topology.istio.io/network={} --overwrite'",
                           value, label, world.istio_ns(), value));
  }
}

/// The root of a cluster's CA, by its fingerprint: that of cacerts, else the self-signed one. Empty
/// when there is none.
std::string RootOf(const AnalysisWorld& world, const AnalysisCluster& cluster,
                   const Document** where) {
  std::string root;
  for (const Document& document : cluster.objects) {
    if (kubeapi::KindOf(document.object) != "Secret" ||
        NamespaceOf(document.object) != world.istio_ns())
      continue;
    const std::string name = NameOf(document.object);
    const char* key = name == "cacerts"           ? "root-cert.pem"
                      : name == "istio-ca-secret" ? "ca-cert.pem"
                                                  : nullptr;
    if (key == nullptr || (*where != nullptr && name != "cacerts")) continue;
    const auto pem = base::Base64Decode(StringAt(document.object, {"data", key}));
    if (!pem.ok()) continue;
    const auto certificate = pki::Certificate::FromPem(*pem);
    if (!certificate.ok()) continue;
    *where = &document;
    root = certificate->sha256();
  }
  return root;
}

void CheckRoots(const AnalysisWorld& world, AnalysisReport& report) {
  std::string root, owner;
  for (const AnalysisCluster& cluster : world.clusters()) {
    const Document* where = nullptr;
    const std::string mine = RootOf(world, cluster, &where);
    if (mine.empty()) continue;
    if (root.empty()) {
      root = mine;
      owner = cluster.name;
    } else if (mine != root) {
      report.Add("ISM0003", Severity::kError, cluster, *where,
                 fmt::format("Its root certificate is not that of cluster {}: mutual TLS between "
                             "the two fails. Give both a secret "
                             "cacerts made from one root.",
                             owner));
    }
  }
}

void CheckRemoteSecrets(const AnalysisWorld& world, AnalysisReport& report) {
  std::map<std::string, std::string> owners;
  world.Each("", "Secret", [&](const AnalysisCluster& cluster, const Document& document) {
    if (LabelOf(document.object, "istio/multiCluster") != "true") return;
    const Json* data = Find(document.object, {"data"});
    if (data == nullptr || !data->is_object()) return;
    for (const auto& [id, value] : data->items()) {
      if (id == cluster.name)
        report.Add("ISM0004", Severity::kError, cluster, document,
                   fmt::format("The secret names cluster {}, which is this one; istiod ignores it. "
                               "Was it made with the wrong context?",
                               id));
      const auto [it, fresh] = owners.emplace(cluster.name + "|" + id, NameOf(document.object));
      if (!fresh)
        report.Add("ISM0005", Severity::kError, cluster, document,
                   fmt::format("Secret {} names cluster {} as well; only one of the two is used.",
                               it->second, id));
    }
  });
}

}  // namespace

const std::vector<Analyzer>& MeshAnalyzers() {
  static const std::vector<Analyzer> kAnalyzers = {
      {"injection.Analyzer", "Checks injection labels, and pods that lack their proxy",
       CheckInjection},
      {"meshnetworks.MeshNetworksAnalyzer", "Checks the registries that meshNetworks names",
       CheckMeshNetworks},
      {"webhook.Analyzer", "Checks the services and certificates of Istio's webhooks",
       CheckWebhooks},
      {"services.MultiClusterServiceAnalyzer", "Compares Services of the same name across clusters",
       CheckServicesAcrossClusters},
      {"multicluster.NetworkAnalyzer", "Checks network labels and addresses of network gateways",
       CheckNetworks},
      {"multicluster.RootAnalyzer", "Compares the roots of the clusters' certificates", CheckRoots},
      {"multicluster.RemoteSecretAnalyzer", "Checks whom remote secrets name", CheckRemoteSecrets},
  };
  return kAnalyzers;
}

}  // namespace isthmus::cli
