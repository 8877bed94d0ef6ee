#include "registry/config_store.h"

#include <algorithm>

#include "base/log.h"
#include "config/parse.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/envoy_filter.pb.h"
#include "istio/networking/v1/gateway.pb.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "istio/networking/v1/sidecar.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "istio/security/v1/peer_authentication.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "istio/telemetry/v1/telemetry.pb.h"

namespace isthmus::registry {
namespace {

using kubeapi::Json;

/// Whether an event tells nothing new about the spec, as those after a change of status do.
bool SameObject(const config::Meta& a, const config::Meta& b) {
  if (!a.resource_version.empty() && a.resource_version == b.resource_version) return true;
  return a.generation != 0 && a.generation == b.generation && a.created == b.created &&
         a.labels == b.labels && a.annotations == b.annotations;
}

std::map<std::string, std::string> ReadEntryAddresses(const Json* object) {
  std::map<std::string, std::string> addresses;
  const Json* list = object == nullptr ? nullptr : kubeapi::Find(*object, {"status", "addresses"});
  if (list == nullptr || !list->is_array()) return addresses;
  for (const Json& item : *list)
    addresses.emplace(kubeapi::StringAt(item, {"host"}), kubeapi::StringAt(item, {"value"}));
  return addresses;
}

}  // namespace

/// The objects of one kind. Apply tells whether the spec or metadata changed.
class ConfigStore::Table {
 public:
  virtual ~Table() = default;
  virtual base::Result<bool> Apply(const std::string& key, const Json* now) = 0;
  virtual void Update(model::Configs& configs) = 0;
};

template <typename T>
class ConfigStore::TypedTable final : public Table {
 public:
  using List = model::Configs::List<T>;
  explicit TypedTable(List model::Configs::*member) : member_(member) {}

  base::Result<bool> Apply(const std::string& key, const Json* now) override {
    auto held = objects_.find(key);
    if (now == nullptr) return Remove(held);
    auto read = config::ReadObject<T>(*now);
    if (!read.ok()) {
      Remove(held);
      return read.status();
    }
    if (held != objects_.end() && SameObject(held->second->meta, (*read)->meta)) return false;
    objects_.insert_or_assign(key, std::move(*read));
    stale_ = true;
    return true;
  }

  void Update(model::Configs& configs) override {
    if (!stale_ && configs.*member_ != nullptr) return;
    auto list = std::make_shared<config::ObjectList<T>>();
    list->reserve(objects_.size());
    for (const auto& [key, object] : objects_) list->push_back(object);
    std::stable_sort(list->begin(), list->end(),
                     [](const auto& a, const auto& b) { return config::Before(a->meta, b->meta); });
    configs.*member_ = std::move(list);
    stale_ = false;
  }

 private:
  using Objects = std::map<std::string, std::shared_ptr<const config::Object<T>>>;
  bool Remove(typename Objects::iterator held) {
    if (held == objects_.end()) return false;
    objects_.erase(held);
    stale_ = true;
    return true;
  }

  List model::Configs::*member_;
  Objects objects_;
  bool stale_ = true;
};

ConfigStore::ConfigStore() {
  namespace net = istio::networking::v1;
  namespace sec = istio::security::v1;
  using C = model::Configs;
  tables_["VirtualService"] =
      std::make_unique<TypedTable<net::VirtualService>>(&C::virtual_services);
  tables_["DestinationRule"] =
      std::make_unique<TypedTable<net::DestinationRule>>(&C::destination_rules);
  tables_["Gateway"] = std::make_unique<TypedTable<net::Gateway>>(&C::gateways);
  tables_["ServiceEntry"] = std::make_unique<TypedTable<net::ServiceEntry>>(&C::service_entries);
  tables_["Sidecar"] = std::make_unique<TypedTable<net::Sidecar>>(&C::sidecars);
  tables_["EnvoyFilter"] = std::make_unique<TypedTable<net::EnvoyFilter>>(&C::envoy_filters);
  tables_["PeerAuthentication"] =
      std::make_unique<TypedTable<sec::PeerAuthentication>>(&C::peer_authentications);
  tables_["RequestAuthentication"] =
      std::make_unique<TypedTable<sec::RequestAuthentication>>(&C::request_authentications);
  tables_["AuthorizationPolicy"] =
      std::make_unique<TypedTable<sec::AuthorizationPolicy>>(&C::authorization_policies);
  tables_["Telemetry"] =
      std::make_unique<TypedTable<istio::telemetry::v1::Telemetry>>(&C::telemetries);
}

ConfigStore::~ConfigStore() = default;

std::vector<const config::Kind*> ConfigStore::Kinds() {
  std::vector<const config::Kind*> kinds;
  for (const config::Kind& kind : config::Kinds())
    if (kind.kind != "WorkloadEntry" && kind.kind != "WorkloadGroup" &&
        kind.kind != "ProxyConfig" && kind.kind != "WasmPlugin")
      kinds.push_back(&kind);
  return kinds;
}

void ConfigStore::Apply(const config::Kind& kind, const std::string& key, const Json* now) {
  auto table = tables_.find(kind.kind);
  if (table == tables_.end()) return;
  const std::string name = kind.kind + "/" + key;
  auto changed = table->second->Apply(key, now);
  const bool was_wrong = errors_.erase(name) > 0;
  if (!changed.ok()) {
    LOG_WARN("registry", "{}; it is left out", changed.status().message());
    errors_[name] = changed.status().message();
  }
  bool differs = !changed.ok() || *changed || was_wrong;
  if (kind.kind == "ServiceEntry") {
    auto addresses = ReadEntryAddresses(now);
    auto& held = entry_addresses_[key];
    if (held != addresses) {
      held = std::move(addresses);
      differs = true;
    }
    if (held.empty()) entry_addresses_.erase(key);
  }
  if (!differs) return;
  dirt_.kinds.insert(kind.kind);
  dirt_.objects.insert(name);
}

void ConfigStore::Update(model::Configs& configs) {
  for (const auto& [kind, table] : tables_) table->Update(configs);
}

std::map<std::string, std::string> ConfigStore::EntryAddresses(const std::string& key) const {
  auto found = entry_addresses_.find(key);
  return found == entry_addresses_.end() ? std::map<std::string, std::string>() : found->second;
}

}  // namespace isthmus::registry
