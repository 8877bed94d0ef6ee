#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "kubeclient/client.h"

namespace isthmus::kubeclient {

/// One event of a watch.
struct WatchEvent {
  enum class Type { kAdded, kModified, kDeleted, kBookmark };
  Type type = Type::kAdded;
  Json object;
};

/// One watch request: objects as they change from a resource version on, until the server ends it
/// (they all do after some minutes), it fails, or the Watch is destroyed. Lives on the client's
/// loop. The callbacks may destroy it.
class Watch {
 public:
  struct Events {
    /// The server has accepted the watch.
    std::function<void()> open;
    std::function<void(WatchEvent)> event;
    /// Once, at the end: OK when the server ended it in order; kOutOfRange when the version is too
    /// old.
    std::function<void(base::Status)> closed;
  };
  Watch(base::Loop& loop, Client& client, const Resource& resource, std::string_view ns,
        const ListOptions& options, std::string_view resource_version, Events events);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::kubeclient
