#include "lab/apiserver/store.h"

#include <sqlite3.h>

namespace isthmus::lab::apiserver {
namespace {

using base::Code;
using base::Error;
using base::Status;

void Bind(sqlite3_stmt* stmt, int index, std::string_view text) {
  sqlite3_bind_text(stmt, index, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
}

std::string_view ColumnText(sqlite3_stmt* stmt, int index) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(stmt, index));
  return text ? std::string_view(text, sqlite3_column_bytes(stmt, index)) : std::string_view();
}

/// What an event costs in memory, about.
size_t SizeOf(const StoreEvent& event) {
  return event.object->size() + (event.previous ? event.previous->size() : 0) + 200;
}

constexpr char kSchema[] =
    "CREATE TABLE IF NOT EXISTS objects(resource TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT "
    "NULL,"
    " object TEXT NOT NULL);"
    "CREATE UNIQUE INDEX IF NOT EXISTS by_key ON objects(resource, ns, name);"
    "CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "INSERT OR IGNORE INTO facts VALUES('version', '1');";

}  // namespace

const Json& StoreEvent::parsed() const {
  if (!parsed_) parsed_ = std::make_shared<const Json>(Json::parse(*object, nullptr, false));
  return *parsed_;
}

const Json& StoreEvent::parsed_previous() const {
  if (!parsed_previous_)
    parsed_previous_ =
        std::make_shared<const Json>(previous ? Json::parse(*previous, nullptr, false) : Json());
  return *parsed_previous_;
}

base::Result<std::unique_ptr<Store>> Store::Open(const std::string& path, size_t history_bytes) {
  std::unique_ptr<Store> store(new Store());
  store->history_limit_ = history_bytes;
  if (sqlite3_open_v2(path.c_str(), &store->db_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                      nullptr) != SQLITE_OK)
    return Error(Code::kUnavailable, "opening the store {}: {}", path, sqlite3_errmsg(store->db_));
  sqlite3_busy_timeout(store->db_, 2000);
  // NORMAL keeps everything over a killed process; only a power cut may lose the last moments.
  for (const char* sql : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL",
                          "PRAGMA cache_size=-2000", "PRAGMA locking_mode=EXCLUSIVE", kSchema})
    RETURN_IF_ERROR(store->Exec(sql), "preparing the store " + path);
  store->get_ = store->Prepare("SELECT object FROM objects WHERE resource=? AND ns=? AND name=?");
  store->put_ = store->Prepare(
      "INSERT INTO objects(resource, ns, name, object) VALUES(?,?,?,?)"
      " ON CONFLICT(resource, ns, name) DO UPDATE SET object=excluded.object");
  store->delete_ = store->Prepare("DELETE FROM objects WHERE resource=? AND ns=? AND name=?");
  store->version_stmt_ = store->Prepare("UPDATE facts SET value=? WHERE name='version'");
  if (!store->get_ || !store->put_ || !store->delete_ || !store->version_stmt_)
    return Error(Code::kDataLoss, "the store {} is not of this program: {}", path,
                 sqlite3_errmsg(store->db_));
  store->version_ = std::atoll(store->Fact("version").value_or("1").c_str());
  store->history_start_ = store->version_;
  return store;
}

Store::~Store() {
  for (sqlite3_stmt* stmt : {get_, put_, delete_, version_stmt_}) sqlite3_finalize(stmt);
  sqlite3_close(db_);
}

Status Store::Exec(const char* sql) const {
  char* message = nullptr;
  if (sqlite3_exec(db_, sql, nullptr, nullptr, &message) == SQLITE_OK) return Status();
  Status status(Code::kUnavailable, message ? message : "SQLite failed");
  sqlite3_free(message);
  return status;
}

sqlite3_stmt* Store::Prepare(const char* sql) const {
  sqlite3_stmt* stmt = nullptr;
  sqlite3_prepare_v2(db_, sql, -1, &stmt, nullptr);
  return stmt;
}

std::optional<std::string> Store::Get(const ObjectKey& key) const {
  sqlite3_reset(get_);
  Bind(get_, 1, key.resource);
  Bind(get_, 2, key.ns);
  Bind(get_, 3, key.name);
  std::optional<std::string> text;
  if (sqlite3_step(get_) == SQLITE_ROW) text = std::string(ColumnText(get_, 0));
  sqlite3_reset(get_);
  return text;
}

void Store::List(std::string_view resource, std::string_view ns,
                 const std::optional<ObjectKey>& after,
                 const std::function<bool(const ObjectKey&, std::string_view)>& visit) const {
  std::string sql = "SELECT ns, name, object FROM objects WHERE resource=?1";
  if (!ns.empty()) sql += " AND ns=?2";
  if (after) sql += " AND (ns, name) > (?3, ?4)";
  sql += " ORDER BY ns, name";
  sqlite3_stmt* stmt = Prepare(sql.c_str());
  Bind(stmt, 1, resource);
  if (!ns.empty()) Bind(stmt, 2, ns);
  if (after) {
    Bind(stmt, 3, after->ns);
    Bind(stmt, 4, after->name);
  }
  ObjectKey key{std::string(resource), {}, {}};
  while (sqlite3_step(stmt) == SQLITE_ROW) {
    key.ns = ColumnText(stmt, 0);
    key.name = ColumnText(stmt, 1);
    if (!visit(key, ColumnText(stmt, 2))) break;
  }
  sqlite3_finalize(stmt);
}

int64_t Store::Count(std::string_view resource) const {
  sqlite3_stmt* stmt = Prepare("SELECT COUNT(*) FROM objects WHERE resource=?");
  Bind(stmt, 1, resource);
  const int64_t count = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
  sqlite3_finalize(stmt);
  return count;
}

Status Store::Put(const ObjectKey& key, Json* object, Text previous) {
  (*object)["metadata"]["resourceVersion"] = std::to_string(version_ + 1);
  // The version asked for decides apiVersion and kind; they are put back when the object is read.
  Json api_version = std::move((*object)["apiVersion"]);
  Json kind = std::move((*object)["kind"]);
  object->erase("apiVersion");
  object->erase("kind");
  StoreEvent event;
  event.kind = previous ? StoreEvent::Kind::kModified : StoreEvent::Kind::kAdded;
  event.key = key;
  event.object = std::make_shared<const std::string>(
      object->dump(-1, ' ', false, Json::error_handler_t::replace));
  event.previous = std::move(previous);
  (*object)["apiVersion"] = std::move(api_version);
  (*object)["kind"] = std::move(kind);
  return Commit(std::move(event), false);
}

Status Store::Delete(const ObjectKey& key, Json* object, Text previous) {
  (*object)["metadata"]["resourceVersion"] = std::to_string(version_ + 1);
  Json bare = *object;
  bare.erase("apiVersion");
  bare.erase("kind");
  StoreEvent event;
  event.kind = StoreEvent::Kind::kDeleted;
  event.key = key;
  event.object = std::make_shared<const std::string>(
      bare.dump(-1, ' ', false, Json::error_handler_t::replace));
  event.previous = std::move(previous);
  return Commit(std::move(event), true);
}

Status Store::Commit(StoreEvent event, bool remove) {
  event.version = version_ + 1;
  RETURN_IF_ERROR(Exec("BEGIN"), "writing");
  sqlite3_stmt* stmt = remove ? delete_ : put_;
  sqlite3_reset(stmt);
  Bind(stmt, 1, event.key.resource);
  Bind(stmt, 2, event.key.ns);
  Bind(stmt, 3, event.key.name);
  if (!remove) Bind(stmt, 4, *event.object);
  const std::string version = std::to_string(event.version);
  sqlite3_reset(version_stmt_);
  Bind(version_stmt_, 1, version);
  const bool done = sqlite3_step(stmt) == SQLITE_DONE && sqlite3_step(version_stmt_) == SQLITE_DONE;
  sqlite3_reset(stmt);
  sqlite3_reset(version_stmt_);
  Status status = done ? Exec("COMMIT") : Error(Code::kUnavailable, "{}", sqlite3_errmsg(db_));
  if (!status.ok()) {
    (void)Exec("ROLLBACK");
    return status.In("writing " + event.key.resource + " " + event.key.name);
  }
  version_ = event.version;
  history_bytes_ += SizeOf(event);
  history_.push_back(event);
  while (history_bytes_ > history_limit_ && history_.size() > 1) {
    history_bytes_ -= SizeOf(history_.front());
    history_start_ = history_.front().version;
    history_.pop_front();
  }
  undelivered_.push_back(std::move(event));
  // An observer may write in turn; its change is delivered after this one, so that all see the same
  // order.
  if (undelivered_.size() == 1) {
    while (!undelivered_.empty()) {
      Deliver(undelivered_.front());
      undelivered_.pop_front();
    }
  }
  return Status();
}

void Store::Deliver(const StoreEvent& event) {
  for (auto it = observers_.begin(), end = observers_.end(); it != end;) {
    if (std::shared_ptr<Observer> observer = it->lock()) {
      (*observer)(event);
      ++it;
    } else {
      it = observers_.erase(it);
    }
  }
}

bool Store::Replay(int64_t version, const std::function<void(const StoreEvent&)>& visit) const {
  if (version < history_start_) return false;
  for (const StoreEvent& event : history_) {
    if (event.version <= version) continue;
    // A copy, so that what is parsed for this visit does not stay in the history.
    const StoreEvent copy = event;
    visit(copy);
  }
  return true;
}

std::shared_ptr<void> Store::Observe(Observer observer) {
  auto held = std::make_shared<Observer>(std::move(observer));
  observers_.push_front(held);
  return held;
}

std::optional<std::string> Store::Fact(const std::string& name) const {
  sqlite3_stmt* stmt = Prepare("SELECT value FROM facts WHERE name=?");
  Bind(stmt, 1, name);
  std::optional<std::string> value;
  if (sqlite3_step(stmt) == SQLITE_ROW) value = std::string(ColumnText(stmt, 0));
  sqlite3_finalize(stmt);
  return value;
}

Status Store::SetFact(const std::string& name, const std::string& value) {
  sqlite3_stmt* stmt =
      Prepare("INSERT INTO facts VALUES(?,?) ON CONFLICT(name) DO UPDATE SET value=excluded.value");
  Bind(stmt, 1, name);
  Bind(stmt, 2, value);
  const bool done = sqlite3_step(stmt) == SQLITE_DONE;
  sqlite3_finalize(stmt);
  return done ? Status() : Error(Code::kUnavailable, "writing {}: {}", name, sqlite3_errmsg(db_));
}

}  // namespace isthmus::lab::apiserver
