#include "install/apply.h"

#include <fmt/ranges.h>

#include <set>

#include "base/version.h"
#include "install/owned_objects.h"

namespace isthmus::install {
namespace {

using base::Code;
using base::Error;
using base::Status;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

constexpr std::string_view kManaged = "operator.istio.io/managed";

Status EnsureNamespace(ClusterAccess& cluster, const Installation& installation) {
  auto existing = cluster.Get(kNamespaces, "", installation.ns);
  if (existing.ok()) return {};
  if (existing.status().code() != Code::kNotFound) return existing.status();
  Json ns = {
      {"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", installation.ns}}}};
  if (std::string network = StringAt(installation.values, {"global", "network"}); !network.empty())
    ns["metadata"]["labels"]["topology.istio.io/network"] = network;
  auto created = cluster.Create(kNamespaces, "", ns);
  return created.ok() || created.status().code() == Code::kAlreadyExists ? Status()
                                                                         : created.status();
}

bool Established(const Json& definition) {
  const Json* conditions = Find(definition, {"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return false;
  for (const Json& condition : *conditions)
    if (StringAt(condition, {"type"}) == "Established" && StringAt(condition, {"status"}) == "True")
      return true;
  return false;
}

base::Result<std::string> WhyNotReadyObject(ClusterAccess& cluster, const Json& object) {
  std::string kind = StringAt(object, {"kind"});
  std::string name = StringAt(object, {"metadata", "name"});
  if (kind == "CustomResourceDefinition") {
    ASSIGN_OR_RETURN(Json now, cluster.Get(kDefinitions, "", name), "");
    return std::string(Established(now) ? "" : "not established");
  }
  if (kind == "Deployment")
    return WhyNotReady(cluster, StringAt(object, {"metadata", "namespace"}), name);
  return std::string();
}

/// The control plane turns Ignore to Fail once its webhook answers; an upgrade must not open that
/// door again.
Status KeepFailurePolicy(ClusterAccess& cluster, Json& webhook) {
  ASSIGN_OR_RETURN(Resource resource,
                   cluster.Find(StringAt(webhook, {"apiVersion"}), StringAt(webhook, {"kind"})),
                   "");
  auto live = cluster.Get(resource, "", StringAt(webhook, {"metadata", "name"}));
  if (!live.ok()) return live.status().code() == Code::kNotFound ? Status() : live.status();
  const Json* entries = Find(*live, {"webhooks"});
  if (entries == nullptr || !entries->is_array()) return {};
  for (Json& wanted : webhook["webhooks"])
    for (const Json& entry : *entries)
      if (StringAt(entry, {"name"}) == StringAt(wanted, {"name"}))
        wanted["failurePolicy"] = StringAt(entry, {"failurePolicy"});
  return {};
}

Status ApplyComponent(ClusterAccess& cluster, const Installation& installation,
                      const Component& component, const ApplyOptions& options) {
  std::vector<Json> definitions, others;
  ASSIGN_OR_RETURN(std::vector<Json> objects, AsApplied(cluster, installation, component), "");
  for (Json& object : objects)
    (StringAt(object, {"kind"}) == "CustomResourceDefinition" ? definitions : others)
        .push_back(std::move(object));
  RETURN_IF_ERROR(cluster.ApplyAll(definitions, installation.ns), "");
  RETURN_IF_ERROR(cluster.ApplyAll(others, installation.ns), "");
  RETURN_IF_ERROR(WaitReady(cluster, definitions, options.readiness_timeout), "");
  return options.wait ? WaitReady(cluster, others, options.readiness_timeout) : Status();
}

/// The roots that the control plane had put into every namespace. It puts them there again while it
/// runs, so its pods must be gone first.
Status RemoveRoots(ClusterAccess& cluster, const ProgressLine& progress) {
  Status gone = cluster.Until(std::chrono::seconds(60), [&]() -> base::Result<bool> {
    ASSIGN_OR_RETURN(std::vector<Json> pods, cluster.List(kPods, "", "app=istiod"), "");
    return pods.empty();
  });
  if (!gone.ok()) return gone.In("waiting for the control plane's pods to end");
  ASSIGN_OR_RETURN(std::vector<Json> maps, cluster.List(kConfigMaps, "", "istio.io/config=true"),
                   "");
  for (const Json& map : maps) {
    std::string ns = StringAt(map, {"metadata", "namespace"});
    std::string name = StringAt(map, {"metadata", "name"});
    RETURN_IF_ERROR(cluster.Delete(kConfigMaps, ns, name), "removing ConfigMap " + name);
    progress(fmt::format("  Removed /v1, Kind=ConfigMap/{}.{}.", name, ns));
  }
  return {};
}

}  // namespace

base::Result<std::vector<Owned>> SurplusOf(ClusterAccess& cluster, const Installation& installation,
                                           const std::vector<Component>& components) {
  std::set<std::string> rendered;
  for (const Component& component : components)
    for (const Json& object : component.objects) rendered.insert(Describe(object));
  std::string selector = fmt::format(
      "{}=Reconcile,operator.istio.io/component,istio.io/rev={},install.operator.istio.io/"
      "owning-resource={},"
      "install.operator.istio.io/owning-resource-namespace={}",
      kManaged, installation.revision.empty() ? "default" : installation.revision,
      installation.owner_name, installation.ns);
  ASSIGN_OR_RETURN(std::vector<Owned> owned, FindSurplus(cluster, selector, rendered), "pruning");
  std::erase_if(owned, [](const Owned& one) {
    return StringAt(one.object, {"metadata", "labels",
                                 "install.operator.istio.io/owning-resource-not-pruned"}) == "true";
  });
  return owned;
}

Status Prune(ClusterAccess& cluster, const Installation& installation,
             const std::vector<Component>& components) {
  ASSIGN_OR_RETURN(std::vector<Owned> surplus, SurplusOf(cluster, installation, components), "");
  for (const Owned& one : surplus) RETURN_IF_ERROR(Delete(cluster, one), "pruning " + one.text());
  return {};
}

base::Result<std::vector<Json>> AsApplied(ClusterAccess& cluster, const Installation& installation,
                                          const Component& component) {
  std::vector<Json> objects = component.objects;
  for (Json& object : objects) {
    Json& labels = object["metadata"]["labels"];
    labels[std::string(kManaged)] = "Reconcile";
    labels["operator.istio.io/version"] = std::string(base::kVersion);
    labels["install.operator.istio.io/owning-resource-namespace"] = installation.ns;
    if (StringAt(object, {"kind"}) == "ValidatingWebhookConfiguration")
      RETURN_IF_ERROR(KeepFailurePolicy(cluster, object), Describe(object));
  }
  return objects;
}

Status WaitReady(ClusterAccess& cluster, const std::vector<Json>& objects, base::Duration timeout) {
  std::vector<std::string> waiting;
  Status status = cluster.Until(timeout, [&]() -> base::Result<bool> {
    waiting.clear();
    for (const Json& object : objects) {
      base::Result<std::string> why = WhyNotReadyObject(cluster, object);
      // A server with much to do may not answer once; there is time to ask again.
      const bool may_pass = !why.ok() && (why.status().code() == Code::kDeadlineExceeded ||
                                          why.status().code() == Code::kUnavailable);
      if (!why.ok() && !may_pass) return why.status().In(Describe(object));
      if (why.ok() && why->empty()) continue;
      waiting.push_back(fmt::format(
          "{}/{}/{} ({})", StringAt(object, {"kind"}), StringAt(object, {"metadata", "namespace"}),
          StringAt(object, {"metadata", "name"}), why.ok() ? *why : why.status().message()));
    }
    return waiting.empty();
  });
  if (status.code() == Code::kDeadlineExceeded && !waiting.empty())
    return Error(Code::kDeadlineExceeded, "resources not ready after {} s: {}",
                 std::chrono::duration_cast<std::chrono::seconds>(timeout).count(),
                 fmt::join(waiting, ", "));
  return status;
}

base::Result<std::string> WhyNotReady(ClusterAccess& cluster, const std::string& ns,
                                      const std::string& name) {
  ASSIGN_OR_RETURN(Json deployment, cluster.Get(kDeployments, ns, name), "");
  int64_t wanted = IntAt(deployment, {"spec", "replicas"}, 1);
  if (IntAt(deployment, {"status", "observedGeneration"}) <
      IntAt(deployment, {"metadata", "generation"}))
    return std::string("not observed yet");
  int64_t updated = IntAt(deployment, {"status", "updatedReplicas"});
  int64_t available = IntAt(deployment, {"status", "availableReplicas"});
  int64_t all = IntAt(deployment, {"status", "replicas"});
  if (updated >= wanted && available >= wanted && all <= updated) return std::string();
  std::string why = fmt::format("{} of {} replicas ready", std::min(available, updated), wanted);
  const Json* conditions = Find(deployment, {"status", "conditions"});
  if (conditions != nullptr && conditions->is_array())
    for (const Json& condition : *conditions)
      if (StringAt(condition, {"type"}) == "ReplicaFailure")
        why += "; " + StringAt(condition, {"message"});
  return why;
}

Status Apply(ClusterAccess cluster, const Installation& installation,
             const std::vector<Component>& components, const ApplyOptions& options,
             const ProgressLine& progress) {
  RETURN_IF_ERROR(EnsureNamespace(cluster, installation), "creating namespace " + installation.ns);
  for (const Component& component : components) {
    progress(fmt::format("- Processing resources for {}.", component.title));
    Status status = ApplyComponent(cluster, installation, component, options);
    if (!status.ok()) {
      progress(fmt::format("✘ {} encountered an error: {}", component.title, status.message()));
      return status.In("installing " + component.title);
    }
    progress(fmt::format("✔ {} installed {}", component.title, component.icon));
  }
  if (options.prune) {
    progress("- Pruning removed resources");
    RETURN_IF_ERROR(Prune(cluster, installation, components), "");
  }
  progress("✔ Installation complete");
  return {};
}

Status Uninstall(ClusterAccess cluster, const UninstallOptions& options,
                 const ProgressLine& progress) {
  std::string selector = "operator.istio.io/component";
  if (!options.purge) {
    selector = "operator.istio.io/component in (Pilot,IngressGateways,EgressGateways,Cni,Ztunnel)";
    if (!options.revision.empty()) selector += ",istio.io/rev=" + options.revision;
    if (!options.owner_ns.empty())
      selector += ",install.operator.istio.io/owning-resource-namespace=" + options.owner_ns;
    if (!options.owner_name.empty())
      selector += ",install.operator.istio.io/owning-resource=" + options.owner_name;
  }
  ASSIGN_OR_RETURN(std::vector<Owned> owned, FindOwned(cluster, selector, options.purge),
                   "looking for what is installed");
  if (owned.empty()) progress("  Nothing of Istio was found to remove.");
  for (const Owned& one : owned) {
    std::string ns = StringAt(one.object, {"metadata", "namespace"});
    std::string name = StringAt(one.object, {"metadata", "name"});
    if (!options.dry_run)
      RETURN_IF_ERROR(cluster.Delete(one.resource, ns, name),
                      "removing " + one.resource.kind + " " + name);
    progress(fmt::format("  Removed {}/{}, Kind={}/{}{}.", one.resource.group, one.resource.version,
                         one.resource.kind, name, ns.empty() ? "" : "." + ns));
  }
  if (options.purge && !options.dry_run) RETURN_IF_ERROR(RemoveRoots(cluster, progress), "");
  progress("✔ Uninstall complete");
  return {};
}

}  // namespace isthmus::install
