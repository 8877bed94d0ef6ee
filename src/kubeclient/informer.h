#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "kubeclient/client.h"

namespace isthmus::kubeclient {

/// What an Informer reports. `old` is null for added objects, `now` is null for deleted ones.
struct InformerEvents {
  std::function<void(const std::string& key, const Json* now)> changed;
  /// The first complete list has been reported.
  std::function<void()> synced;
  /// The API server cannot be reached or refuses (once per failure), and when it answers again
  /// (OK).
  std::function<void(const base::Status&)> health;
};

/// Keeps up with one resource: list, then watch with bookmarks, again after each failure with a
/// growing delay. What vanished while the watch was down is reported as deleted only after the next
/// complete list; while the server is unreachable nothing is withdrawn. It keeps keys and versions,
/// not objects: the receiver keeps what it needs. A resource the server does not serve (404) counts
/// as empty and synced, and is tried again every 30 s. Lives on the client's loop; destroying it
/// stops it.
class Informer {
 public:
  Informer(base::Loop& loop, Client& client, Resource resource, std::string ns, ListOptions options,
           InformerEvents events);
  ~Informer();
  Informer(const Informer&) = delete;
  Informer& operator=(const Informer&) = delete;

  bool synced() const;
  /// Time since the server was last heard; zero while the watch is healthy.
  base::Duration stale_for() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::kubeclient
