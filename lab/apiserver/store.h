#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kubeapi/json.h"

struct sqlite3;
struct sqlite3_stmt;

namespace isthmus::lab::apiserver {

using kubeapi::Json;
using Text = std::shared_ptr<const std::string>;

/// Where an object lives: "deployments.apps", namespace ("" for cluster scope), name.
struct ObjectKey {
  std::string resource;
  std::string ns;
  std::string name;
};

/// One change. Texts are the objects as stored: JSON without apiVersion and kind.
struct StoreEvent {
  enum class Kind { kAdded, kModified, kDeleted };
  Kind kind = Kind::kAdded;
  int64_t version = 0;
  ObjectKey key;
  Text object;    ///< For kDeleted: the last state, with the version of the deletion.
  Text previous;  ///< Null for kAdded.

  /// The texts parsed: once, however many watches look at them.
  const Json& parsed() const;
  const Json& parsed_previous() const;

 private:
  mutable std::shared_ptr<const Json> parsed_;
  mutable std::shared_ptr<const Json> parsed_previous_;
};

/// Objects by key with one global version (resourceVersion), and the recent changes in order.
///
/// Each change is one SQLite transaction in WAL mode: a killed process loses nothing that it
/// answered for. The history lives in memory, bounded by bytes; a watch from before it must start
/// over (410 Gone), as after a restart. Lives on one thread. Observers are called after the commit,
/// inside the call that made the change.
class Store {
 public:
  /// `path` is a file, or ":memory:". `history_bytes` bounds the change history.
  static base::Result<std::unique_ptr<Store>> Open(const std::string& path,
                                                   size_t history_bytes = 4 << 20);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// The version of the newest change.
  int64_t version() const { return version_; }
  std::optional<std::string> Get(const ObjectKey& key) const;
  /// Objects of a resource in order of namespace and name, after `after` when given; all namespaces
  /// when `ns` is empty. Stops when `visit` returns false. `visit` may not change the store.
  void List(std::string_view resource, std::string_view ns, const std::optional<ObjectKey>& after,
            const std::function<bool(const ObjectKey&, std::string_view)>& visit) const;
  int64_t Count(std::string_view resource) const;

  /// Writes `object` under `key`, giving it the next resourceVersion; apiVersion and kind are taken
  /// off the text. `previous` is the text it replaces, null when it is new.
  base::Status Put(const ObjectKey& key, Json* object, Text previous);
  /// Removes; `object` gets the deletion's version.
  base::Status Delete(const ObjectKey& key, Json* object, Text previous);

  /// Changes after `version`, in order; false when the history does not reach that far back.
  bool Replay(int64_t version, const std::function<void(const StoreEvent&)>& visit) const;

  /// Calls `observer` for each change from now on, until the token is dropped. A new observer does
  /// not see a change that is being reported.
  using Observer = std::function<void(const StoreEvent&)>;
  [[nodiscard]] std::shared_ptr<void> Observe(Observer observer);

  /// Small facts that are not objects (the uid of the cluster, allocated once).
  std::optional<std::string> Fact(const std::string& name) const;
  base::Status SetFact(const std::string& name, const std::string& value);

 private:
  Store() = default;
  base::Status Commit(StoreEvent event, bool remove);
  void Deliver(const StoreEvent& event);
  base::Status Exec(const char* sql) const;
  sqlite3_stmt* Prepare(const char* sql) const;

  sqlite3* db_ = nullptr;
  sqlite3_stmt* get_ = nullptr;
  sqlite3_stmt* put_ = nullptr;
  sqlite3_stmt* delete_ = nullptr;
  sqlite3_stmt* version_stmt_ = nullptr;
  int64_t version_ = 0;
  int64_t history_start_ = 0;  // Every change after this version is in history_.
  size_t history_bytes_ = 0;
  size_t history_limit_ = 0;
  std::deque<StoreEvent> history_;
  std::deque<StoreEvent> undelivered_;
  // A list, so that observers may come and go while one is being called.
  std::list<std::weak_ptr<Observer>> observers_;
};

}  // namespace isthmus::lab::apiserver
