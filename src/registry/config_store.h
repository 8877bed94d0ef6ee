#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/kinds.h"
#include "kubeapi/json.h"
#include "model/snapshot.h"

namespace isthmus::registry {

/// The Istio objects of the config cluster: JSON in, the lists of model::Configs out. An object
/// that cannot be read is left out and remembered with its reason; the others are not touched.
/// Pure; one owner, one loop.
class ConfigStore {
 public:
  ConfigStore();
  ~ConfigStore();
  ConfigStore(const ConfigStore&) = delete;
  ConfigStore& operator=(const ConfigStore&) = delete;

  /// The kinds it takes: those that the snapshot carries.
  static std::vector<const config::Kind*> Kinds();

  /// One object came or changed, or went (null). `key` is "namespace/name".
  void Apply(const config::Kind& kind, const std::string& key, const kubeapi::Json* now);

  /// Replaces the lists that changed since the last call.
  void Update(model::Configs& configs);

  struct Dirt {
    std::set<std::string> kinds;    ///< "VirtualService"
    std::set<std::string> objects;  ///< "VirtualService/<namespace>/<name>"
  };
  Dirt TakeDirt() { return std::exchange(dirt_, {}); }
  bool dirty() const { return !dirt_.objects.empty(); }

  /// Addresses that a controller wrote into the status of a ServiceEntry, by host.
  std::map<std::string, std::string> EntryAddresses(const std::string& key) const;
  /// Why objects are left out, by "<kind>/<namespace>/<name>".
  const std::map<std::string, std::string>& errors() const { return errors_; }

 private:
  class Table;
  template <typename T>
  class TypedTable;

  std::map<std::string, std::unique_ptr<Table>> tables_;  ///< By kind.
  std::map<std::string, std::map<std::string, std::string>> entry_addresses_;
  std::map<std::string, std::string> errors_;
  Dirt dirt_;
};

}  // namespace isthmus::registry
