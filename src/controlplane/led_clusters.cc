#include "controlplane/led_clusters.h"

#include "base/log.h"
#include "base/strings.h"
#include "ca/root_publisher.h"
#include "controlplane/webhook_patcher.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"
#include "kubeclient/informer.h"
#include "registry/records.h"

namespace isthmus::controlplane {
namespace {

using kubeapi::kMutatingWebhooks;
using kubeapi::kNamespaces;

}  // namespace

bool NamesLeader(const kubeapi::Json& system_namespace, std::string_view cluster_id) {
  return registry::IsLeader(
      base::SplitList(kubeapi::AnnotationOf(system_namespace, registry::kLeadersAnnotation)),
      cluster_id);
}

struct LedClusters::Led {
  std::string name;
  std::string kubeconfig;
  std::unique_ptr<kubeclient::Client> client;
  std::unique_ptr<kubeclient::Informer> ns;
  // Only while it names us.
  std::unique_ptr<ca::RootPublisher> roots;
  std::unique_ptr<WebhookPatcher> webhooks;

  void Lead(bool wanted, LedClusters& owner);
};

void LedClusters::Led::Lead(bool wanted, LedClusters& owner) {
  if (wanted == (roots != nullptr)) return;
  LOG_INFO("controlplane", "cluster {}: its namespace {} {} us as its control plane", name,
           owner.options_.ns, wanted ? "names" : "no longer names");
  webhooks.reset();
  roots.reset();
  if (!wanted) return;
  roots = std::make_unique<ca::RootPublisher>(owner.loop_, *client, owner.authority_,
                                              owner.options_.root_config_map);
  webhooks = std::make_unique<WebhookPatcher>(
      owner.loop_, *client, owner.metrics_,
      WebhookPatcherOptions{kMutatingWebhooks,
                            owner.options_.revision,
                            "sidecar-injector.istio.io",
                            [&owner] { return owner.authority_.roots_pem(); },
                            {}});
}

LedClusters::LedClusters(base::Loop& loop, base::MetricRegistry& metrics, ca::Authority& authority,
                         LedClustersOptions options)
    : loop_(loop), metrics_(metrics), authority_(authority), options_(std::move(options)) {}

LedClusters::~LedClusters() = default;

void LedClusters::Set(const std::vector<registry::RemoteCluster>& clusters) {
  std::map<std::string, std::unique_ptr<Led>> before = std::move(clusters_);
  clusters_.clear();
  for (const registry::RemoteCluster& cluster : clusters) {
    const std::string& name = cluster.id.text();
    auto held = before.find(name);
    if (held != before.end() && held->second->kubeconfig == cluster.kubeconfig) {
      clusters_[name] = std::move(held->second);
      continue;
    }
    auto client = kubeclient::Client::Create(loop_, cluster.config);
    if (!client.ok()) continue;  // The registry has the same trouble, and tells.
    auto led = std::make_unique<Led>();
    led->name = name;
    led->kubeconfig = cluster.kubeconfig;
    led->client = std::move(*client);
    kubeclient::InformerEvents events;
    events.changed = [this, led = led.get()](const std::string&, const kubeclient::Json* now) {
      led->Lead(now != nullptr && NamesLeader(*now, options_.cluster_id), *this);
    };
    led->ns = std::make_unique<kubeclient::Informer>(
        loop_, *led->client, kNamespaces, "",
        kubeclient::ListOptions{.label_selector = "",
                                .field_selector = "metadata.name=" + options_.ns},
        std::move(events));
    clusters_[name] = std::move(led);
  }
}

void LedClusters::BundleChanged() {
  for (const auto& [name, led] : clusters_)
    if (led->webhooks != nullptr) led->webhooks->BundleChanged();
}

}  // namespace isthmus::controlplane
