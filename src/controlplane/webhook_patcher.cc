#include "controlplane/webhook_patcher.h"

#include "base/encoding.h"
#include "base/log.h"
#include "kubeapi/meta.h"

namespace isthmus::controlplane {
namespace {

using kubeclient::Json;

constexpr int kQuickRetries = 5;

}  // namespace

Json BundlePatch(const Json& object, const std::string& name_suffix,
                 const std::string& ca_bundle_pem) {
  const std::string bundle = base::Base64Encode(ca_bundle_pem);
  Json patch = Json::array();
  const auto& webhooks = kubeapi::ItemsAt(object, {"webhooks"});
  for (size_t i = 0; i < webhooks.size(); ++i) {
    const std::string name = kubeapi::StringAt(webhooks[i], {"name"});
    if (!name.ends_with(name_suffix) || kubeapi::Find(webhooks[i], {"clientConfig"}) == nullptr)
      continue;
    if (kubeapi::StringAt(webhooks[i], {"clientConfig", "caBundle"}) == bundle) continue;
    // The test keeps the patch from another entry when the list has changed meanwhile.
    patch.push_back(
        {{"op", "test"}, {"path", fmt::format("/webhooks/{}/name", i)}, {"value", name}});
    patch.push_back({{"op", "add"},
                     {"path", fmt::format("/webhooks/{}/clientConfig/caBundle", i)},
                     {"value", bundle}});
  }
  return patch;
}

struct WebhookPatcher::Impl : std::enable_shared_from_this<Impl> {
  Impl(base::Loop& loop_in, kubeclient::Client& client_in, base::MetricRegistry& metrics_in,
       WebhookPatcherOptions options_in)
      : loop(loop_in), client(client_in), metrics(metrics_in), options(std::move(options_in)) {}

  void Start() {
    kubeclient::InformerEvents events;
    events.changed = [this](const std::string& key, const Json* now) {
      if (now == nullptr) {
        objects.erase(key);
        return;
      }
      objects[key] = Entry{*now, 0, {}};
      Patch(key);
    };
    informer = std::make_unique<kubeclient::Informer>(
        loop, client, options.resource, "",
        kubeclient::ListOptions{"istio.io/rev=" + options.revision, ""}, std::move(events));
  }

  void Patch(const std::string& key) {
    auto at = objects.find(key);
    const std::string bundle = options.ca_bundle();
    if (at == objects.end() || bundle.empty()) return;
    Entry& entry = at->second;
    const Json patch = BundlePatch(entry.object, options.name_suffix, bundle);
    if (patch.empty()) {
      entry.failures = 0;
      if (options.patched) options.patched(entry.object);
      return;
    }
    metrics
        .AddCounter("webhook_patch_attempts_total", "Attempts to patch webhook configurations.",
                    {{"name", key}})
        .Add();
    std::weak_ptr<Impl> weak = weak_from_this();
    client.Patch(options.resource, "", kubeapi::NameOf(entry.object), kubeclient::PatchType::kJson,
                 patch, [weak, key](base::Result<Json> result) {
                   if (auto self = weak.lock()) self->Done(key, result);
                 });
  }

  void Done(const std::string& key, const base::Result<Json>& result) {
    if (result.ok()) {
      LOG_INFO("webhooks", "{} {} has our CA bundle", options.resource.kind, key);
      return;  // The watch tells of the new object.
    }
    auto at = objects.find(key);
    if (at == objects.end() || result.status().code() == base::Code::kNotFound) return;
    metrics
        .AddCounter("webhook_patch_failures_total",
                    "Failed attempts to patch webhook configurations.",
                    {{"name", key}, {"reason", "webhook_update_failure"}})
        .Add();
    LOG_WARN("webhooks", "{} {}: writing the CA bundle: {}", options.resource.kind, key,
             result.status().message());
    const bool quick = ++at->second.failures <= kQuickRetries;
    const base::Duration delay =
        quick ? base::Duration(std::chrono::milliseconds(100)) : std::chrono::minutes(1);
    at->second.retry = base::Timer::After(loop, delay, [this, key] {
      metrics
          .AddCounter("webhook_patch_retries_total", "Retries of patching webhook configurations.",
                      {{"name", key}})
          .Add();
      Patch(key);
    });
  }

  struct Entry {
    Json object;
    int failures = 0;
    base::Timer retry;
  };
  base::Loop& loop;
  kubeclient::Client& client;
  base::MetricRegistry& metrics;
  const WebhookPatcherOptions options;
  std::map<std::string, Entry> objects;
  std::unique_ptr<kubeclient::Informer> informer;
};

WebhookPatcher::WebhookPatcher(base::Loop& loop, kubeclient::Client& client,
                               base::MetricRegistry& metrics, WebhookPatcherOptions options)
    : impl_(std::make_shared<Impl>(loop, client, metrics, std::move(options))) {
  impl_->Start();
}
WebhookPatcher::~WebhookPatcher() = default;

void WebhookPatcher::BundleChanged() {
  std::vector<std::string> keys;
  for (const auto& [key, entry] : impl_->objects) keys.push_back(key);
  for (const std::string& key : keys) impl_->Patch(key);
}

}  // namespace isthmus::controlplane
