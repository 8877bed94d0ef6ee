#include "install/mesh_findings.h"

#include <fmt/format.h>

#include <algorithm>

#include "kubeapi/meta.h"
#include "kubeapi/selector.h"

namespace isthmus::install {
namespace {

using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::ItemsAt;
using kubeapi::LabelOf;
using kubeapi::NameOf;
using kubeapi::NamespaceOf;
using kubeapi::StringAt;

constexpr char kNetworkLabel[] = "topology.istio.io/network";

/// "sample" of "helloworld.sample.svc.cluster.local".
std::string NamespaceOfHost(const std::string& host) {
  const size_t dot = host.find('.');
  if (dot == host.npos) return "";
  return host.substr(dot + 1, host.find('.', dot + 1) - dot - 1);
}

std::string HostOf(const Json& object) {
  return NameOf(object) + "." + NamespaceOf(object) + ".svc.cluster.local";
}

const Json* FindNamed(const std::vector<Json>& items, const std::string& ns,
                      const std::string& name) {
  for (const Json& item : items)
    if (NameOf(item) == name && NamespaceOf(item) == ns) return &item;
  return nullptr;
}

/// Looks at one thing after another and collects what is wrong.
class Search {
 public:
  Search(const Topology& topology, const std::map<std::string, ClusterObjects>& objects,
         const std::map<std::string, ClusterFacts>& facts)
      : topology_(topology), objects_(objects), facts_(facts) {}

  std::vector<Finding> Run() {
    for (const TopologyCluster& cluster : topology_.clusters) {
      if (!objects_.contains(cluster.name)) continue;
      Services(cluster);
      Rules(cluster);
      RemoteSecrets(cluster);
      Gateway(cluster);
      Network(cluster);
      Workloads(cluster);
    }
    Roots();
    for (const TopologyCluster& cluster : topology_.clusters)
      if (objects_.contains(cluster.name)) ControlPlane(cluster);
    return std::move(findings_);
  }

 private:
  Finding& Add(const TopologyCluster& cluster, std::string object, std::string problem,
               std::string remedy) {
    Finding finding;
    finding.cluster = cluster.name;
    finding.object = std::move(object);
    finding.problem = std::move(problem);
    finding.remedy = std::move(remedy);
    findings_.push_back(std::move(finding));
    return findings_.back();
  }
  const ClusterObjects& Of(const TopologyCluster& cluster) const {
    return objects_.at(cluster.name);
  }

  void Services(const TopologyCluster& cluster) {
    for (const IntendedObject& intended : Of(cluster).intended) {
      const Json& object = intended.object;
      if (kubeapi::KindOf(object) != "Service" ||
          FindNamed(Of(cluster).services, NamespaceOf(object), NameOf(object)) != nullptr)
        continue;
      Finding& finding = Add(
          cluster, Describe(object),
          fmt::format("is missing, so the pods of {} are no endpoints of it and its name does not "
                      "resolve there",
                      cluster.name),
          fmt::format("kubectl --context {} apply -n {} -f {}", cluster.context,
                      NamespaceOf(object), intended.file));
      finding.source = cluster.name;
      finding.host = HostOf(object);
    }
  }

  /// Deployments of the topology that cannot answer.
  void Workloads(const TopologyCluster& cluster) {
    for (const IntendedObject& intended : Of(cluster).intended) {
      const Json& object = intended.object;
      if (kubeapi::KindOf(object) != "Deployment") continue;
      const Json* live = FindNamed(Of(cluster).deployments, NamespaceOf(object), NameOf(object));
      const bool zero = live != nullptr && IntAt(*live, {"spec", "replicas"}, 1) == 0;
      if (live != nullptr && IntAt(*live, {"status", "readyReplicas"}) > 0) continue;
      const std::string ns = NamespaceOf(object);
      Finding& finding =
          Add(cluster, Describe(object),
              live == nullptr ? "is missing"
              : zero          ? "is scaled to 0"
                              : "has no ready pod",
              live == nullptr ? fmt::format("kubectl --context {} apply -n {} -f {}",
                                            cluster.context, ns, intended.file)
              : zero ? fmt::format("kubectl --context {} scale -n {} deploy {} --replicas=1",
                                   cluster.context, ns, NameOf(object))
                     : fmt::format("kubectl --context {} describe -n {} deploy {}", cluster.context,
                                   ns, NameOf(object)));
      finding.wrong = !zero;
      finding.source = cluster.name;
      finding.host = "*." + ns;
      finding.views = false;
    }
  }

  /// Configuration of a control plane that takes mTLS from endpoints, without which no gateway can
  /// tell where a connection goes.
  void Rules(const TopologyCluster& cluster) {
    for (const Json& rule : Of(cluster).destination_rules) {
      const std::string mode = StringAt(rule, {"spec", "trafficPolicy", "tls", "mode"});
      if (mode.empty() || mode == "ISTIO_MUTUAL") continue;
      std::string host = StringAt(rule, {"spec", "host"});
      if (host.find('.') == host.npos) host += "." + NamespaceOf(rule);
      if (!host.starts_with("*") && std::count(host.begin(), host.end(), '.') == 1)
        host += ".svc.cluster.local";
      // "*.sample.svc.cluster.local" and "*.local" stand for namespaces.
      if (host.starts_with("*.")) {
        const std::string ns = host.substr(2, host.find('.', 2) - 2);
        host = host.find(".svc") == host.npos ? "" : "*." + ns;
      }
      Finding& finding = Add(
          cluster, "DestinationRule " + kubeapi::KeyOf(rule),
          fmt::format("sets tls.mode {} for {}: without the mesh's mTLS nothing of it is reached "
                      "through a gateway, and a workload that is STRICT refuses it",
                      mode, StringAt(rule, {"spec", "host"})),
          "take trafficPolicy.tls out of it, or set its mode to ISTIO_MUTUAL");
      finding.wrong = false;
      finding.control_plane = cluster.name;
      finding.host = host;
    }
    for (const Json& policy : Of(cluster).peer_authentications) Authentication(cluster, policy);
    for (const Json& policy : Of(cluster).authorization_policies) {
      const std::string ns = NamespaceOf(policy);
      Finding& finding = Add(cluster, "AuthorizationPolicy " + kubeapi::KeyOf(policy),
                             "limits who may call", "allow the caller in its rules");
      finding.wrong = finding.views = false;
      finding.host = ns == kSystem ? "" : "*." + ns;
      finding.control_plane = cluster.name;
    }
  }

  void Authentication(const TopologyCluster& cluster, const Json& policy) {
    bool disabled = StringAt(policy, {"spec", "mtls", "mode"}) == "DISABLE";
    if (const Json* ports = Find(policy, {"spec", "portLevelMtls"});
        ports != nullptr && ports->is_object())
      for (const auto& [port, value] : ports->items())
        disabled = disabled || StringAt(value, {"mode"}) == "DISABLE";
    if (!disabled) return;
    const std::string ns = NamespaceOf(policy);
    const Json* labels = Find(policy, {"spec", "selector", "matchLabels"});
    const std::string what = labels != nullptr ? "the workloads it selects"
                             : ns == kSystem   ? "the whole mesh"
                                               : "namespace " + ns;
    Finding& finding =
        Add(cluster, "PeerAuthentication " + kubeapi::KeyOf(policy),
            fmt::format("has mode DISABLE for {}: without mTLS nothing of it is reached "
                        "through a gateway",
                        what),
            "set its mode to PERMISSIVE or STRICT");
    finding.wrong = false;
    finding.control_plane = cluster.name;
    finding.host = ns == kSystem && labels == nullptr ? "" : "*." + ns;
  }

  void RemoteSecrets(const TopologyCluster& cluster) {
    if (!cluster.primary() || !Of(cluster).secrets_readable) return;
    for (const TopologyCluster& other : topology_.clusters) {
      if (other.name == cluster.name) continue;
      const std::string make = fmt::format(
          "istioctl create-remote-secret --context={} --name={} | kubectl apply --context={} -f -",
          other.context, other.name, cluster.context);
      const Json* holder = nullptr;
      for (const Json& secret : Of(cluster).remote_secrets)
        if (Find(secret, {"data", other.name}) != nullptr) holder = &secret;
      if (holder == nullptr) {
        Finding& finding =
            Add(cluster, fmt::format("Secret {}/istio-remote-secret-{}", kSystem, other.name),
                fmt::format("is missing, so the control plane of {} does not see {}", cluster.name,
                            other.name),
                make);
        finding.control_plane = cluster.name;
        finding.source = other.name;
        continue;
      }
      for (const Json& row : Of(cluster).watched) {
        if (StringAt(row, {"id"}) != other.name) continue;
        const std::string sync = StringAt(row, {"syncStatus"});
        if (sync == "synced" && !BoolAt(row, {"stale"})) continue;
        const std::string error = StringAt(row, {"error"});
        Finding& finding =
            Add(cluster, Describe(*holder),
                fmt::format("does not let the control plane of {} read {} ({}{})", cluster.name,
                            other.name, sync == "synced" ? "stale" : sync,
                            error.empty() ? "" : ": " + error),
                make);
        finding.control_plane = cluster.name;
        finding.source = other.name;
      }
    }
  }

  void Gateway(const TopologyCluster& cluster) {
    if (!cluster.gateway.present) return;
    const std::string name = cluster.gateway.ServiceName();
    const Json* service = FindNamed(Of(cluster).services, kSystem, name);
    const std::string object = fmt::format("Service {}/{}", kSystem, name);
    const auto between = [&](Finding& finding) { finding.network = cluster.network; };
    if (service == nullptr) {
      between(
          Add(cluster, object,
              fmt::format("is missing, so nothing leads into network {}", cluster.network),
              fmt::format(
                  "samples/multicluster/gen-eastwest-gateway.sh --network {} | istioctl install "
                  "--context={} -y -f -",
                  cluster.network, cluster.context)));
      return;
    }
    const std::string network = LabelOf(*service, kNetworkLabel);
    if (!cluster.network.empty() && network != cluster.network)
      between(
          Add(cluster, object,
              fmt::format(
                  "has {} \"{}\", not \"{}\": other clusters do not take it for the way into it",
                  kNetworkLabel, network, cluster.network),
              fmt::format("kubectl --context {} label svc -n {} {} {}={} --overwrite",
                          cluster.context, kSystem, name, kNetworkLabel, cluster.network)));
    const auto facts = facts_.find(cluster.name);
    if (facts != facts_.end() && facts->second.gateway_addresses.empty() &&
        cluster.gateway.reached_at.empty() && network == cluster.network)
      between(Add(
          cluster, object,
          fmt::format("has no address (neither spec.externalIPs nor one of a load balancer), so "
                      "nothing leads into network {}",
                      cluster.network),
          fmt::format("kubectl --context {} patch svc -n {} {} -p "
                      "'{{\"spec\":{{\"externalIPs\":[\"{}\"]}}}}'",
                      cluster.context, kSystem, name,
                      cluster.gateway.external_ips.empty()
                          ? "ADDRESS"
                          : cluster.gateway.external_ips.front())));
    Exposure(cluster);
  }

  /// The object by which the gateway passes services on; read by the control plane that serves it.
  void Exposure(const TopologyCluster& cluster) {
    const TopologyCluster* plane = topology_.Find(cluster.control_plane);
    if (!cluster.gateway.exposes_services || plane == nullptr || !objects_.contains(plane->name))
      return;
    for (const Json& gateway : Of(*plane).mesh_gateways)
      for (const Json& server : ItemsAt(gateway, {"spec", "servers"}))
        if (StringAt(server, {"tls", "mode"}) == "AUTO_PASSTHROUGH") return;
    Finding& finding = Add(
        *plane, fmt::format("Gateway {}/cross-network-gateway", kSystem),
        fmt::format("is missing, so the gateway of {} passes nothing on", cluster.network),
        fmt::format("kubectl --context {} apply -n {} -f samples/multicluster/expose-services.yaml",
                    plane->context, kSystem));
    finding.network = cluster.network;
    finding.views = false;
  }

  void Network(const TopologyCluster& cluster) {
    if (cluster.network.empty()) return;
    const std::string label = LabelOf(Of(cluster).system_namespace, kNetworkLabel);
    if (label != cluster.network) {
      // Without the label, meshNetworks or the pods' own labels may still say it.
      Finding& finding =
          Add(cluster, fmt::format("Namespace {}", kSystem),
              fmt::format("has {} \"{}\", but its network is \"{}\"", kNetworkLabel, label,
                          cluster.network),
              fmt::format("kubectl --context {} label namespace {} {}={} --overwrite",
                          cluster.context, kSystem, kNetworkLabel, cluster.network));
      finding.wrong = !label.empty();
      finding.source = cluster.name;
    }
    std::map<std::string, std::vector<std::string>> others;
    for (const Json& pod : Of(cluster).pods) {
      const std::string network = LabelOf(pod, kNetworkLabel);
      if (!network.empty() && network != cluster.network)
        others[network].push_back(kubeapi::KeyOf(pod));
    }
    for (const auto& [network, pods] : others) {
      Finding& finding =
          Add(cluster, "Pod " + pods.front(),
              fmt::format("{}has {} \"{}\", but its network is \"{}\"",
                          pods.size() == 1 ? "" : fmt::format("(and {} more) ", pods.size() - 1),
                          kNetworkLabel, network, cluster.network),
              fmt::format("install {} with values.global.network={} and restart its workloads",
                          cluster.name, cluster.network));
      finding.source = cluster.name;
    }
  }

  /// The clusters that do not trust what the most trust.
  void Roots() {
    std::map<std::set<std::string>, int> votes;
    for (const auto& [name, objects] : objects_)
      if (!objects.roots.empty()) ++votes[objects.roots];
    const std::set<std::string>* common = nullptr;
    const TopologyCluster* owner = nullptr;
    int most = 0;
    for (const TopologyCluster& cluster : topology_.clusters) {
      if (!objects_.contains(cluster.name) || Of(cluster).roots.empty()) continue;
      if (const int count = votes[Of(cluster).roots]; count > most) {
        most = count;
        common = &Of(cluster).roots;
        owner = &cluster;
      }
    }
    for (const TopologyCluster& cluster : topology_.clusters) {
      if (common == nullptr || !objects_.contains(cluster.name)) continue;
      const std::set<std::string>& roots = Of(cluster).roots;
      const bool shared = std::any_of(roots.begin(), roots.end(), [&](const std::string& root) {
        return common->contains(root);
      });
      if (roots.empty() || shared) continue;
      Finding& finding =
          Add(cluster,
              fmt::format("Secret {}/{}", kSystem,
                          Of(cluster).has_cacerts ? "cacerts" : "istio-ca-secret"),
              fmt::format("has a root that is not that of {}: mutual TLS between the two fails",
                          owner->name),
              fmt::format("give {} a secret cacerts whose certificate was signed by the root of "
                          "{}, restart istiod "
                          "and its workloads",
                          cluster.name, owner->name));
      finding.source = cluster.name;
      finding.views = false;
    }
  }

  void ControlPlane(const TopologyCluster& cluster) {
    if (!cluster.has_istiod()) return;
    for (const Json& pod : Of(cluster).pods)
      if (NamespaceOf(pod) == kSystem && LabelOf(pod, "app") == "istiod" &&
          kubeapi::ConditionIsTrue(pod, "Ready") && !kubeapi::IsBeingDeleted(pod))
        return;
    Finding& finding = Add(
        cluster, fmt::format("Deployment {}/istiod", kSystem), "has no ready pod",
        fmt::format("kubectl --context {} describe -n {} deploy istiod", cluster.context, kSystem));
    finding.wrong = false;  // Another primary may serve its proxies meanwhile.
    finding.control_plane = cluster.name;
  }

  const Topology& topology_;
  const std::map<std::string, ClusterObjects>& objects_;
  const std::map<std::string, ClusterFacts>& facts_;
  std::vector<Finding> findings_;
};

bool HostFits(const Finding& finding, const std::string& host) {
  if (finding.host.empty() || finding.host == host) return true;
  return finding.host.starts_with("*.") && NamespaceOfHost(host) == finding.host.substr(2);
}

std::string ControlPlaneOf(const Topology& topology, const std::string& cluster) {
  const TopologyCluster* found = topology.Find(cluster);
  return found == nullptr ? "" : found->control_plane;
}

std::string NetworkOf(const Topology& topology, const std::string& cluster) {
  const TopologyCluster* found = topology.Find(cluster);
  return found == nullptr ? "" : found->network;
}

}  // namespace

std::vector<Finding> FindCauses(const Topology& topology,
                                const std::map<std::string, ClusterObjects>& objects,
                                const std::map<std::string, ClusterFacts>& facts) {
  return Search(topology, objects, facts).Run();
}

Finding* CauseOf(const Difference& difference, const Topology& topology,
                 std::vector<Finding>& findings) {
  const size_t bar = difference.service.rfind('|');
  const std::string host = bar == std::string::npos ? "" : difference.service.substr(bar + 1);
  const std::string source_network = NetworkOf(topology, difference.source);
  const std::string viewer_network = NetworkOf(topology, difference.viewer);
  for (Finding& finding : findings) {
    if (!finding.views || !HostFits(finding, host)) continue;
    if (!finding.control_plane.empty() &&
        finding.control_plane != ControlPlaneOf(topology, difference.viewer))
      continue;
    // A cluster's own network concerns it as a viewer, too.
    const bool own =
        finding.source == difference.viewer && finding.object.starts_with("Namespace ");
    if (!finding.source.empty() && finding.source != difference.source && !own) continue;
    if (!finding.network.empty() &&
        (finding.network != source_network || source_network == viewer_network))
      continue;
    // What takes mTLS away is seen only where a gateway is between.
    const bool only_between = finding.object.starts_with("DestinationRule ") ||
                              finding.object.starts_with("PeerAuthentication ");
    if (only_between && (source_network == viewer_network || difference.source.empty())) continue;
    ++finding.explains;
    return &finding;
  }
  return nullptr;
}

Finding* CauseOf(const FailedRequest& request, const Topology& topology,
                 std::vector<Finding>& findings) {
  const std::string plane = ControlPlaneOf(topology, request.from_cluster);
  for (Finding& finding : findings) {
    if (!finding.traffic || (!request.host.empty() && !HostFits(finding, request.host))) continue;
    if (finding.object.starts_with("AuthorizationPolicy ") != request.answer.starts_with("403"))
      continue;
    if (!finding.control_plane.empty() && finding.control_plane != plane) continue;
    const bool silent = request.silent.empty() ||
                        std::find(request.silent.begin(), request.silent.end(), finding.source) !=
                            request.silent.end();
    if (!finding.source.empty() && finding.source != request.from_cluster && !silent) continue;
    if (!finding.network.empty() && finding.network == NetworkOf(topology, request.from_cluster))
      continue;
    ++finding.explains;
    return &finding;
  }
  return nullptr;
}

}  // namespace isthmus::install
