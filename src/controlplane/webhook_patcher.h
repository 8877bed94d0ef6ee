#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/backoff.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "kubeclient/informer.h"

namespace isthmus::controlplane {

struct WebhookPatcherOptions {
  kubeclient::Resource resource;  ///< Mutating- or ValidatingWebhookConfigurations.
  std::string revision;           ///< As shown: "default" for none.
  std::string name_suffix;        ///< Entries whose name does not end so are left alone.
  /// The roots that API servers must believe when they call us; empty while unknown.
  std::function<std::string()> ca_bundle;
  /// Called when an object of ours has its bundle in every entry.
  std::function<void(const kubeclient::Json& object)> patched;
};

/// Writes our CA bundle into the webhook configurations of our revision, and again when they or the
/// bundle change, so that the API server can call the webhooks. Tries for ever: five times at once,
/// then every minute. Every replica does so, since all write the same. Lives on its loop; client
/// and metrics outlive it.
class WebhookPatcher {
 public:
  WebhookPatcher(base::Loop& loop, kubeclient::Client& client, base::MetricRegistry& metrics,
                 WebhookPatcherOptions options);
  ~WebhookPatcher();
  WebhookPatcher(const WebhookPatcher&) = delete;
  WebhookPatcher& operator=(const WebhookPatcher&) = delete;

  /// The bundle may be another one now.
  void BundleChanged();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// The JSON patch that gives every entry of ours in `object` the bundle (base64 of the PEM); empty
/// when all have it.
kubeclient::Json BundlePatch(const kubeclient::Json& object, const std::string& name_suffix,
                             const std::string& ca_bundle_pem);

}  // namespace isthmus::controlplane
