#include "ca/root_publisher.h"

#include <map>
#include <set>

#include "base/log.h"
#include "kubeapi/resources.h"
#include "kubeclient/informer.h"

namespace isthmus::ca {
namespace {

using base::Code;
using kubeapi::Json;
using kubeapi::kConfigMaps;
using kubeapi::kNamespaces;

constexpr char kKey[] = "root-cert.pem";
constexpr size_t kAtOnce = 8;
constexpr int kTries = 5;
constexpr base::Duration kRefusedAgain = std::chrono::seconds(5);

bool IsLeftOut(std::string_view ns) {
  return ns == "kube-public" || ns == "kube-node-lease" || ns == "local-path-storage";
}

}  // namespace

struct RootPublisher::Impl : std::enable_shared_from_this<Impl> {
  Impl(base::Loop& loop, kubeclient::Client& client, Authority& authority, std::string name)
      : loop(loop), client(client), authority(authority), name(std::move(name)) {}

  base::Loop& loop;
  kubeclient::Client& client;
  Authority& authority;
  std::string name;
  std::set<std::string> namespaces;             // Those that shall have it.
  std::map<std::string, std::string> contents;  // What each namespace's config map holds now.
  std::set<std::string> dirty;
  struct Write {
    int tries = 0;      // Before this one.
    bool told = false;  // The watch has told of the config map since.
  };
  std::map<std::string, Write> under_way;
  std::map<std::string, base::Timer> retries;
  std::map<std::string, base::Timer> refused;  // Namespaces where we may not write, asked again.
  std::unique_ptr<kubeclient::Informer> namespace_informer;
  std::unique_ptr<kubeclient::Informer> config_map_informer;
  std::shared_ptr<void> subscription;

  void Start() {
    auto weak = weak_from_this();
    const auto synced = [weak] {
      if (auto self = weak.lock()) self->Pump();
    };
    namespace_informer = std::make_unique<kubeclient::Informer>(
        loop, client, kNamespaces, "", kubeclient::ListOptions{},
        kubeclient::InformerEvents{
            .changed = [this](const std::string& key, const Json* now) { OnNamespace(key, now); },
            .synced = synced,
            .health = nullptr});
    config_map_informer = std::make_unique<kubeclient::Informer>(
        loop, client, kConfigMaps, "",
        kubeclient::ListOptions{.field_selector = "metadata.name=" + name},
        kubeclient::InformerEvents{
            .changed = [this](const std::string& key, const Json* now) { OnConfigMap(key, now); },
            .synced = synced,
            .health = nullptr});
    subscription = authority.OnChange([this] {
      dirty = namespaces;
      Pump();
    });
  }

  void OnNamespace(const std::string& ns, const Json* now) {
    const bool wanted = now != nullptr && !IsLeftOut(ns) &&
                        kubeapi::StringAt(*now, {"status", "phase"}) != "Terminating" &&
                        kubeapi::StringAt(*now, {"metadata", "deletionTimestamp"}).empty();
    if (!wanted) {
      namespaces.erase(ns);
      dirty.erase(ns);
      retries.erase(ns);
      refused.erase(ns);
    } else if (namespaces.insert(ns).second) {
      dirty.insert(ns);
      Pump();
    }
  }

  void OnConfigMap(const std::string& key, const Json* now) {
    const size_t slash = key.find('/');
    // A server may ignore the field selector.
    if (slash == key.npos || key.substr(slash + 1) != name) return;
    const std::string ns = key.substr(0, slash);
    if (now == nullptr)
      contents.erase(ns);
    else
      contents[ns] = kubeapi::StringAt(*now, {"data", kKey});
    if (const auto write = under_way.find(ns); write != under_way.end()) write->second.told = true;
    if (namespaces.contains(ns)) {
      dirty.insert(ns);
      Pump();
    }
  }

  bool Ready() const {
    return authority.ready() && namespace_informer && namespace_informer->synced() &&
           config_map_informer && config_map_informer->synced();
  }

  void Pump() {
    if (!Ready()) return;
    while (!dirty.empty() && under_way.size() < kAtOnce) {
      const std::string ns = *dirty.begin();
      // Its answer marks the namespace again when it is not right by then.
      if (under_way.contains(ns)) {
        dirty.erase(ns);
        continue;
      }
      dirty.erase(ns);
      Ensure(ns, 0);
    }
  }

  void Ensure(const std::string& ns, int tries) {
    const auto at = contents.find(ns);
    if (at != contents.end() && at->second == authority.roots_pem()) return;
    under_way[ns] = Write{tries, false};
    Json map = {{"metadata", {{"name", name}, {"labels", {{"istio.io/config", "true"}}}}},
                {"data", {{kKey, authority.roots_pem()}}}};
    auto done = [weak = weak_from_this(), ns,
                 written = authority.roots_pem()](base::Result<Json> answer) {
      if (auto self = weak.lock()) self->OnAnswer(ns, written, answer.status());
    };
    if (at != contents.end())
      return client.Patch(kConfigMaps, ns, name, kubeclient::PatchType::kMerge, map,
                          std::move(done));
    map["apiVersion"] = "v1";
    map["kind"] = "ConfigMap";
    map["metadata"]["namespace"] = ns;
    client.Create(kConfigMaps, ns, map, std::move(done));
  }

  void OnAnswer(const std::string& ns, const std::string& written, const base::Status& status) {
    const auto at = under_way.find(ns);
    const auto [tries, told] = at == under_way.end() ? Write() : at->second;
    under_way.erase(ns);
    if (status.ok()) {
      // What the watch told may be newer than our own write: somebody else's, or the deletion.
      if (!told) contents[ns] = written;
      if (namespaces.contains(ns)) dirty.insert(ns);
    } else if (status.code() == Code::kPermissionDenied) {
      LOG_WARN("rootpublisher", "namespace {} may not have the root certificates: {}", ns,
               status.message());
      // In another cluster the right may come later than we do.
      refused[ns] = base::Timer::After(loop, kRefusedAgain, [weak = weak_from_this(), ns] {
        if (auto self = weak.lock()) self->TryAgain(ns, 0);
      });
    } else if (status.code() == Code::kAlreadyExists || status.code() == Code::kNotFound) {
      // The watch is behind: what it will tell soon is assumed now.
      if (status.code() == Code::kAlreadyExists)
        contents.try_emplace(ns, "");
      else
        contents.erase(ns);
      Retry(ns, tries);
    } else {
      LOG_WARN("rootpublisher", "writing {} in namespace {}: {}", name, ns, status.message());
      Retry(ns, tries);
    }
    Pump();
  }

  void TryAgain(std::string ns, int tries) {
    retries.erase(ns);
    if (!under_way.contains(ns) && namespaces.contains(ns)) Ensure(ns, tries);
  }

  void Retry(const std::string& ns, int tries) {
    if (tries + 1 >= kTries || !namespaces.contains(ns)) return;
    retries[ns] = base::Timer::After(loop, std::chrono::milliseconds(100 << (2 * tries)),
                                     [weak = weak_from_this(), ns, tries] {
                                       if (auto self = weak.lock()) self->TryAgain(ns, tries + 1);
                                     });
  }
};

RootPublisher::RootPublisher(base::Loop& loop, kubeclient::Client& client, Authority& authority,
                             std::string config_map)
    : impl_(std::make_shared<Impl>(loop, client, authority, std::move(config_map))) {
  impl_->Start();
}
RootPublisher::~RootPublisher() {
  // Requests under way may hold the state a little longer than this object; the watches may not.
  impl_->subscription.reset();
  impl_->namespace_informer.reset();
  impl_->config_map_informer.reset();
}

bool RootPublisher::settled() const {
  return impl_->Ready() && impl_->dirty.empty() && impl_->under_way.empty() &&
         impl_->retries.empty();
}

}  // namespace isthmus::ca
