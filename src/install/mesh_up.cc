#include "install/mesh_up.h"

#include <map>
#include <set>

#include "install/apply.h"
#include "install/remote_secret.h"
#include "install/render.h"
#include "install/topology_manifests.h"
#include "install/trust.h"

namespace isthmus::install {
namespace {

using base::Code;
using base::Error;
using base::Status;
using kubeapi::Find;
using kubeapi::StringAt;

Json SystemNamespace(const TopologyCluster& cluster) {
  Json ns = {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", kSystem}}}};
  if (!cluster.network.empty())
    ns["metadata"]["labels"]["topology.istio.io/network"] = cluster.network;
  if (!cluster.primary())
    ns["metadata"]["annotations"]["topology.istio.io/controlPlaneClusters"] = cluster.control_plane;
  return ns;
}

/// Makes Secret cacerts, or checks the one that is there against the root.
Status EnsureCaCerts(ClusterAccess& access, const std::string& cluster, const TopologyRoot& root,
                     const base::Clock& clock) {
  auto existing = access.Get(kSecrets, kSystem, "cacerts");
  if (existing.ok()) return CheckCaCerts(*existing, root.ca.roots(), clock);
  if (existing.status().code() != Code::kNotFound) return existing.status();
  ASSIGN_OR_RETURN(Json secret, MakeCaCerts(root, cluster, kSystem), "");
  return access.Create(kSecrets, kSystem, secret).status();
}

/// The addresses of a gateway's Service: those the load balancer gave, and its external IPs.
std::vector<std::string> AddressesOf(const Json& service) {
  std::vector<std::string> addresses;
  for (const Json& one : kubeapi::ItemsAt(service, {"status", "loadBalancer", "ingress"})) {
    std::string address = StringAt(one, {"ip"});
    addresses.push_back(address.empty() ? StringAt(one, {"hostname"}) : address);
  }
  for (std::string& address : kubeapi::StringsAt(service, {"spec", "externalIPs"}))
    addresses.push_back(std::move(address));
  return addresses;
}

/// The first address of a Service, as soon as it has one. `field` is what could state it.
base::Result<std::string> ServiceAddress(ClusterAccess& access, const std::string& name,
                                         const std::string& field, base::Duration timeout) {
  std::string address;
  Status found = access.Until(timeout, [&]() -> base::Result<bool> {
    ASSIGN_OR_RETURN(Json service, access.Get(kServices, kSystem, name), "");
    std::vector<std::string> addresses = AddressesOf(service);
    if (!addresses.empty()) address = addresses.front();
    return !addresses.empty();
  });
  if (found.code() == Code::kDeadlineExceeded)
    return Error(
        Code::kFailedPrecondition,
        "service {}/{} has no address: its load balancer gives none, so the other clusters "
        "cannot reach it; set {}",
        kSystem, name, field);
  if (!found.ok()) return found;
  return address;
}

/// Where others reach the gateway of a cluster: as the topology states, else at its Service's
/// address.
base::Result<std::string> GatewayAddress(ClusterAccess& access, const TopologyGateway& gateway,
                                         base::Duration timeout) {
  if (!gateway.reached_at.empty()) return gateway.reached_at.front();
  return ServiceAddress(access, gateway.ServiceName(), "eastWestGateway.externalIPs or .reachedAt",
                        timeout);
}

/// One run of BringUp: what the clusters must know of one another.
class Bringing {
 public:
  Bringing(MeshSession& session, const UpOptions& options, const base::Clock& clock,
           TopologyRoot root)
      : session_(session), options_(options), clock_(clock), root_(std::move(root)) {}

  Status Run() {
    const Topology& topology = session_.topology();
    for (const TopologyCluster& cluster : topology.clusters) {
      secrets_[cluster.name];
      pilot_addresses_[cluster.name];
      deployments_[cluster.name];
      installed_[cluster.name];
    }
    RETURN_IF_ERROR(session_.OnAll([&](const TopologyCluster& cluster, ClusterAccess& access) {
      return Prepare(cluster, access);
    }),
                    "preparing");
    RETURN_IF_ERROR(session_.OnEach(topology.primaries(),
                                    [&](const TopologyCluster& cluster, ClusterAccess& access) {
                                      return ShareSecrets(cluster, access);
                                    }),
                    "sharing remote secrets");
    RETURN_IF_ERROR(InstallHosts(), "control planes outside of the mesh");
    std::vector<const TopologyCluster*> first, later;
    for (const TopologyCluster& cluster : topology.clusters) {
      if (cluster.primary()) {
        first.push_back(&cluster);
        continue;
      }
      pilot_addresses_[cluster.name] = KnownPilotAddress(cluster);
      ASSIGN_OR_RETURN(bool alone, InstallsAlone(cluster), cluster.name);
      (alone ? first : later).push_back(&cluster);
    }
    auto install = [&](const TopologyCluster& cluster, ClusterAccess& access) {
      return Install(cluster, access);
    };
    RETURN_IF_ERROR(session_.OnEach(first, install), "installing");
    for (const TopologyCluster* cluster : later) {
      ASSIGN_OR_RETURN(pilot_addresses_[cluster->name], PilotAddress(*cluster),
                       "cluster " + cluster->control_plane);
    }
    RETURN_IF_ERROR(session_.OnEach(later, install), "installing");
    return session_.OnAll([&](const TopologyCluster& cluster, ClusterAccess& access) {
      return Finish(cluster, access);
    });
  }

 private:
  Status Prepare(const TopologyCluster& cluster, ClusterAccess& access) {
    RETURN_IF_ERROR(access.ApplyAll({SystemNamespace(cluster)}, ""), "namespace istio-system");
    // Who runs the control plane for others keeps its keys.
    if (session_.topology().HostOf(cluster) == nullptr)
      RETURN_IF_ERROR(EnsureCaCerts(access, cluster.name, root_, clock_), "certificates");
    // Its primary is to write there as soon as it has the secret.
    if (!cluster.primary())
      RETURN_IF_ERROR(access.ApplyAll(ReaderAccess(kSystem, "", true), kSystem), "reader account");
    RemoteSecretOptions options;
    options.name = cluster.name;
    ASSIGN_OR_RETURN(RemoteSecret secret, CreateRemoteSecret(access, options),
                     "making its remote secret");
    secret.secret["metadata"]["labels"][std::string(kTopologyLabel)] = session_.topology().name;
    secrets_.at(cluster.name) = std::move(secret.secret);
    session_.Report(cluster.name, "certificates and remote secret ready");
    return {};
  }

  /// Control planes that run outside of their mesh: first where each is reached, then what it needs
  /// in the cluster that keeps its configuration, then the control plane.
  Status InstallHosts() {
    return session_.OnHosts([&](const TopologyHost& host, ClusterAccess& access) -> Status {
      RETURN_IF_ERROR(access.ApplyAll({Json{{"apiVersion", "v1"},
                                            {"kind", "Namespace"},
                                            {"metadata", {{"name", kSystem}}}}},
                                      ""),
                      "namespace istio-system");
      RETURN_IF_ERROR(access.ApplyAll({ExternalServiceOf(host)}, kSystem), "");
      std::string& address = pilot_addresses_.at(host.serves);
      ASSIGN_OR_RETURN(
          address,
          ServiceAddress(access, std::string(kExternalService), "externalControlPlane.externalIPs",
                         options_.readiness_timeout),
          "");
      const TopologyCluster& served = *session_.topology().Find(host.serves);
      RETURN_IF_ERROR(ApplyMain(served, session_.access(served.name)), served.name);
      RETURN_IF_ERROR(InstallHost(host, access), "");
      session_.Report(host.name, "control plane at " + address);
      return {};
    });
  }

  Status InstallHost(const TopologyHost& host, ClusterAccess& access) {
    RETURN_IF_ERROR(EnsureCaCerts(access, host.serves, root_, clock_), "certificates");
    RemoteSecretOptions config;
    config.name = host.serves;
    config.type = RemoteSecretOptions::Type::kConfig;
    ASSIGN_OR_RETURN(RemoteSecret secret, CreateRemoteSecret(session_.access(host.serves), config),
                     "making the secret by which it keeps its configuration in " + host.serves);
    RETURN_IF_ERROR(access.ApplyAll({secret.secret}, kSystem), "");
    ASSIGN_OR_RETURN(
        Rendered rendered,
        RenderOperator(HostOperatorOf(session_.topology(), host), "external control plane"), "");
    ApplyOptions options;
    options.readiness_timeout = options_.readiness_timeout;
    options.prune = false;
    return install::Apply(access, rendered.installation, rendered.components, options,
                          [](std::string_view) {});
  }

  Status ShareSecrets(const TopologyCluster& cluster, ClusterAccess& access) {
    std::vector<Json> others;
    for (const auto& [name, secret] : secrets_)
      if (name != cluster.name) others.push_back(secret);
    RETURN_IF_ERROR(access.ApplyAll(others, kSystem), "");
    return DropSecretsOfOthers(cluster, access);
  }

  /// Takes away the remote secrets that this topology once made for clusters that it names no more.
  Status DropSecretsOfOthers(const TopologyCluster& cluster, ClusterAccess& access) {
    ASSIGN_OR_RETURN(std::vector<Owned> surplus,
                     SurplusRemoteSecrets(access, session_.topology(), cluster), "");
    for (const Owned& secret : surplus) {
      const std::string name = StringAt(secret.object, {"metadata", "name"});
      RETURN_IF_ERROR(Delete(access, secret), "remote secret " + name);
      session_.Report(
          cluster.name,
          "took away " + name + ", whose cluster has left the mesh; what runs there is left alone");
    }
    return {};
  }

  /// Where a remote's proxies find their control plane, as far as the topology says; else empty.
  std::string KnownPilotAddress(const TopologyCluster& remote) const {
    if (!remote.remote_pilot_address.empty()) return remote.remote_pilot_address;
    if (session_.topology().HostOf(remote) != nullptr)
      return pilot_addresses_.at(remote.control_plane);
    const TopologyCluster* primary = session_.topology().Find(remote.control_plane);
    if (primary == nullptr || primary->gateway.external_ips.empty()) return "";
    return primary->gateway.external_ips.front();
  }

  /// True for a remote with an istiod of its own, for certificates and injection: nothing of it
  /// waits for its primary but its proxies, and they ask until they are answered.
  base::Result<bool> InstallsAlone(const TopologyCluster& remote) const {
    const std::string& address = pilot_addresses_.at(remote.name);
    if (address.empty()) return false;
    ASSIGN_OR_RETURN(Rendered rendered,
                     RenderOperator(OperatorOf(session_.topology(), remote, address), "topology"),
                     "");
    for (const Component& component : rendered.components)
      for (const Json& object : component.objects)
        if (component.id == "Pilot" && StringAt(object, {"kind"}) == "Deployment") return true;
    return false;
  }

  base::Result<std::string> PilotAddress(const TopologyCluster& remote) {
    if (std::string known = KnownPilotAddress(remote); !known.empty()) return known;
    const TopologyGateway& gateway = session_.topology().Find(remote.control_plane)->gateway;
    return GatewayAddress(session_.access(remote.control_plane), gateway,
                          options_.readiness_timeout);
  }

  Status ApplyInstallation(Rendered rendered, const TopologyCluster& cluster,
                           ClusterAccess& access) {
    ApplyOptions options;
    options.readiness_timeout = options_.readiness_timeout;
    if (!rendered.installation.named) installed_.at(cluster.name) = rendered;
    std::vector<Component> core, gateways;
    for (Component& component : rendered.components) {
      for (const Json& object : component.objects) Remember(cluster, object);
      (component.id.ends_with("Gateways") ? gateways : core).push_back(std::move(component));
    }
    auto report = [&](std::string_view line) {
      if (line.starts_with("✔") && line.find("complete") == std::string_view::npos)
        session_.Report(cluster.name, line.substr(sizeof("✔")));
    };
    // Gateways start while the workloads are applied; all are waited for at the end.
    options.prune = false;
    RETURN_IF_ERROR(install::Apply(access, rendered.installation, core, options, report), "");
    options.wait = false;
    auto quiet = [](std::string_view) {};
    return install::Apply(access, rendered.installation, gateways, options, quiet);
  }

  Status ApplyMain(const TopologyCluster& cluster, ClusterAccess& access) {
    ASSIGN_OR_RETURN(
        Rendered main,
        RenderOperator(OperatorOf(session_.topology(), cluster, pilot_addresses_.at(cluster.name)),
                       "topology " + session_.topology().name),
        "");
    return ApplyInstallation(std::move(main), cluster, access);
  }

  Status Install(const TopologyCluster& cluster, ClusterAccess& access) {
    // The host of its control plane needed it before.
    if (cluster.host.empty()) RETURN_IF_ERROR(ApplyMain(cluster, access), "");
    if (cluster.gateway.present) RETURN_IF_ERROR(OpenGateway(cluster, access), "");
    for (const TopologyFiles& files : cluster.workloads)
      RETURN_IF_ERROR(ApplyFiles(files, cluster, access, true), files.ns);
    for (const TopologyFiles& files : cluster.config)
      RETURN_IF_ERROR(ApplyFiles(files, cluster, access, false), files.ns);
    return {};
  }

  Status OpenGateway(const TopologyCluster& cluster, ClusterAccess& access) {
    if (cluster.gateway.own()) {
      ASSIGN_OR_RETURN(Rendered gateway, EastWestGatewayOf(session_.topology(), cluster), "");
      RETURN_IF_ERROR(ApplyInstallation(std::move(gateway), cluster, access), "east-west gateway");
    }
    ASSIGN_OR_RETURN(std::vector<Json> exposure, ExposureOf(session_.topology(), cluster), "");
    RETURN_IF_ERROR(access.ApplyAll(exposure, kSystem), "exposing");
    ASSIGN_OR_RETURN(std::string address,
                     GatewayAddress(access, cluster.gateway, options_.readiness_timeout), "");
    session_.Report(cluster.name, cluster.gateway.ServiceName() + " at " + address);
    return {};
  }

  Status ApplyFiles(const TopologyFiles& files, const TopologyCluster& cluster,
                    ClusterAccess& access, bool with_namespace) {
    if (with_namespace)
      RETURN_IF_ERROR(access.ApplyAll({NamespaceOf(session_.topology(), files)}, ""), "");
    ASSIGN_OR_RETURN(std::vector<Json> objects, ObjectsOf(session_.topology(), files), "");
    for (const Json& object : objects) Remember(cluster, object);
    return access.ApplyAll(objects, files.ns);
  }

  Status Finish(const TopologyCluster& cluster, ClusterAccess& access) {
    const Rendered& rendered = installed_.at(cluster.name);
    RETURN_IF_ERROR(Prune(access, rendered.installation, rendered.components), "");
    RETURN_IF_ERROR(DropGateway(cluster, access), "");
    const std::vector<Json>& deployments = deployments_.at(cluster.name);
    RETURN_IF_ERROR(WaitReady(access, deployments, options_.readiness_timeout), "");
    session_.Report(cluster.name, fmt::format("{} deployments ready", deployments.size()));
    return {};
  }

  /// Takes away an east-west gateway, or what opens it, that the topology names no more.
  Status DropGateway(const TopologyCluster& cluster, ClusterAccess& access) {
    ASSIGN_OR_RETURN(std::vector<Owned> surplus,
                     SurplusGateway(access, session_.topology(), cluster), "");
    for (const Owned& one : surplus) {
      RETURN_IF_ERROR(Delete(access, one), one.text());
      session_.Report(cluster.name, "took away " + one.text() + ", which the file names no more");
    }
    return {};
  }

  void Remember(const TopologyCluster& cluster, const Json& object) {
    if (StringAt(object, {"kind"}) == "Deployment") deployments_.at(cluster.name).push_back(object);
  }

  MeshSession& session_;
  const UpOptions& options_;
  const base::Clock& clock_;
  TopologyRoot root_;
  // These have all clusters' names before threads start, and each thread writes only its own
  // cluster's entry.
  std::map<std::string, Json> secrets_;
  std::map<std::string, std::string> pilot_addresses_;
  std::map<std::string, std::vector<Json>> deployments_;
  std::map<std::string, Rendered> installed_;
};

}  // namespace

Status BringUp(MeshSession& session, const UpOptions& options, const base::Clock& clock) {
  ASSIGN_OR_RETURN(TopologyRoot root, LoadOrMakeRoot(options.root_directory, clock),
                   "the common root");
  session.Report("", (root.made ? "made the common root in " : "using the common root of ") +
                         options.root_directory);
  Bringing bringing(session, options, clock, std::move(root));
  return bringing.Run();
}

Status TakeDown(MeshSession& session) {
  RETURN_IF_ERROR(session.OnHosts([&](const TopologyHost& host, ClusterAccess& access) -> Status {
    UninstallOptions options;
    options.purge = true;
    RETURN_IF_ERROR(Uninstall(access, options, [](std::string_view) {}), "");
    RETURN_IF_ERROR(access.Delete(kNamespaces, "", kSystem), "namespace istio-system");
    session.Report(host.name, "removed");
    return {};
  }),
                  "");
  return session.OnAll([&](const TopologyCluster& cluster, ClusterAccess& access) -> Status {
    for (const auto* list : {&cluster.config, &cluster.workloads}) {
      for (const TopologyFiles& files : *list) {
        ASSIGN_OR_RETURN(std::vector<Json> objects, ObjectsOf(session.topology(), files), "");
        for (const Json& object : objects) {
          auto resource = access.Find(StringAt(object, {"apiVersion"}), StringAt(object, {"kind"}));
          if (!resource.ok()) continue;  // Its definition is gone, and so is it.
          RETURN_IF_ERROR(access.Delete(*resource, StringAt(object, {"metadata", "namespace"}),
                                        StringAt(object, {"metadata", "name"})),
                          Describe(object));
        }
      }
    }
    UninstallOptions options;
    options.purge = true;
    RETURN_IF_ERROR(Uninstall(access, options, [](std::string_view) {}), "");
    for (const TopologyCluster& other : session.topology().clusters)
      RETURN_IF_ERROR(access.Delete(kSecrets, kSystem, "istio-remote-secret-" + other.name),
                      "remote secret of " + other.name);
    RETURN_IF_ERROR(access.Delete(kSecrets, kSystem, "cacerts"), "secret cacerts");
    ASSIGN_OR_RETURN(
        std::vector<Json> namespaces,
        access.List(kNamespaces, "", std::string(kTopologyLabel) + "=" + session.topology().name),
        "");
    for (const Json& ns : namespaces)
      RETURN_IF_ERROR(access.Delete(kNamespaces, "", StringAt(ns, {"metadata", "name"})),
                      "namespace");
    RETURN_IF_ERROR(access.Delete(kNamespaces, "", kSystem), "namespace istio-system");
    session.Report(cluster.name, "removed");
    return {};
  });
}

}  // namespace isthmus::install
