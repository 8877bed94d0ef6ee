#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/loop.h"
#include "kubeclient/client.h"

namespace isthmus::lab::controllers {

/// Empties a namespace that is being deleted, whatever kinds are served, and then lets it go. Asks
/// the API server, since the controllers do not watch every kind. Lives on the client's loop.
class NamespaceDeletion {
 public:
  NamespaceDeletion(base::Loop& loop, kubeclient::Client& client) : loop_(loop), client_(client) {}
  /// Begins, unless it is under way; tries again by itself until the namespace is gone.
  void Start(const std::string& ns);

 private:
  struct Run;
  base::Loop& loop_;
  kubeclient::Client& client_;
  std::set<std::string> running_;
};

}  // namespace isthmus::lab::controllers
