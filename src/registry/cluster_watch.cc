#include "registry/cluster_watch.h"

#include <utility>

#include "base/log.h"
#include "kubeapi/resources.h"
#include "registry/config_store.h"

namespace isthmus::registry {
namespace {

using kubeclient::ListOptions;
using kubeclient::Resource;

}  // namespace

ClusterWatch::ClusterWatch(base::Loop& loop, kubeclient::Client& client, Options options,
                           Events events)
    : loop_(loop), client_(client), events_(std::move(events)) {
  auto object = [this](Watched kind) {
    return
        [this, kind](const std::string& key, const Json* now) { events_.object(kind, key, now); };
  };
  const Need own = options.config_cluster ? Need::kRequired : Need::kOptional;
  // Nodes and namespaces first, so that pods need not be placed twice.
  Watch(Need::kRequired, kubeapi::kNamespaces, "", {}, object(Watched::kNamespace));
  Watch(Need::kRequired, kubeapi::kNodes, "", {}, object(Watched::kNode));
  Watch(Need::kRequired, kubeapi::kPods, "", {"", "status.phase!=Failed"}, object(Watched::kPod));
  Watch(Need::kRequired, kubeapi::kServices, "", {}, object(Watched::kService));
  Watch(Need::kRequired, kubeapi::kEndpointSlices, "", {}, object(Watched::kEndpointSlice));
  Watch(Need::kOptional, config::FindKindByName("WorkloadEntry")->resource(), "", {},
        object(Watched::kWorkloadEntry));
  Watch(own, kubeapi::kSecrets, "",
        {"", "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"},
        object(Watched::kSecret));
  Watch(own, kubeapi::kConfigMaps, options.system_namespace,
        {"", "metadata.name=" + options.mesh_config_map},
        [this](const std::string&, const Json* now) { events_.mesh_config(now); });
  if (!options.config_cluster) return;
  Watch(own, kubeapi::kSecrets, options.system_namespace, {"istio/multiCluster=true", ""},
        [this](const std::string& key, const Json* now) { events_.remote_secret(key, now); });
  for (const config::Kind* kind : ConfigStore::Kinds())
    Watch(own, kind->resource(), "", {}, [this, kind](const std::string& key, const Json* now) {
      events_.config(*kind, key, now);
    });
}

ClusterWatch::~ClusterWatch() = default;

void ClusterWatch::Watch(Need need, Resource resource, std::string ns, ListOptions options,
                         std::function<void(const std::string&, const Json*)> changed) {
  ++waiting_;
  options.managed_fields = false;
  sources_.push_back(std::make_unique<Source>());
  Source& source = *sources_.back();
  kubeclient::InformerEvents events;
  events.changed = std::move(changed);
  events.synced = [this, &source] { Count(source); };
  events.health = [this, &source, need, plural = resource.plural](const base::Status& status) {
    OnHealth(source, need, plural, status);
  };
  source.informer = std::make_unique<kubeclient::Informer>(
      loop_, client_, std::move(resource), std::move(ns), std::move(options), std::move(events));
}

void ClusterWatch::Count(Source& source) {
  if (std::exchange(source.counted, true)) return;
  if (--waiting_ == 0) events_.synced();
}

void ClusterWatch::OnHealth(Source& source, Need need, const std::string& plural,
                            const base::Status& status) {
  if (need == Need::kOptional && status.code() == base::Code::kPermissionDenied) {
    if (!source.counted)
      LOG_WARN("registry", "{}: {} may not be read ({}); going on without them",
               client_.config().server, plural, status.message());
    return Count(source);
  }
  const bool failing = !status.ok();
  if (source.failing == failing) return;
  source.failing = failing;
  failing_ += failing ? 1 : -1;
  if (failing && failing_ == 1) failing_since_ = std::chrono::steady_clock::now();
  // One server, many watches: its first failure and its full recovery are told.
  if (failing ? failing_ == 1 : failing_ == 0) events_.health(failing ? status.In(plural) : status);
}

bool ClusterWatch::synced() const { return waiting_ == 0; }

base::Duration ClusterWatch::stale_for() const {
  return failing_ == 0 ? base::Duration::zero() : std::chrono::steady_clock::now() - failing_since_;
}

}  // namespace isthmus::registry
