#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "lab/apiserver/kind.h"
#include "lab/apiserver/request.h"
#include "lab/apiserver/store.h"

namespace isthmus::lab::apiserver {

class Allocator;
class TokenIssuer;
class WebhookDispatcher;
class Authorizer;

/// What the parts of the engine share. Owned by Handler; lives on one thread.
struct Engine {
  ~Engine();
  Store& store;
  const base::Clock& clock;
  KindTable kinds;
  std::unique_ptr<Allocator> allocator;
  // Null in tests that do without.
  TokenIssuer* tokens = nullptr;
  WebhookDispatcher* webhooks = nullptr;
  std::unique_ptr<Authorizer> authorizer;
  std::string git_version = "v1.32.0";

  int64_t Now() const;          ///< Unix seconds.
  std::string NowText() const;  ///< RFC 3339.

  /// The stored object in the given version, or nothing.
  std::optional<Json> Get(const Kind& kind, const KindVersion& version, std::string_view ns,
                          std::string_view name) const;
  /// The same by "pods", in the storage version; for admission and controllers inside the server.
  std::optional<Json> Get(std::string_view resource_key, std::string_view ns,
                          std::string_view name) const;
  /// Parses stored text into the form of `version`.
  Json Decode(const Kind& kind, const KindVersion& version, std::string_view text) const;
};

/// "events" also for events.events.k8s.io, which is the same store seen with other field names.
std::string StorageKey(const Kind& kind);
/// Changes an object from the stored form into that of `version`, and back. Most kinds are the same
/// in both.
bool HasConversion(const Kind& kind, const KindVersion& version);
void FromStored(const Kind& kind, const KindVersion& version, Json* object);
void ToStored(const Kind& kind, const KindVersion& version, Json* object);

}  // namespace isthmus::lab::apiserver
