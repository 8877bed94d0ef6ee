#pragma once

#include <map>
#include <string>

#include "kubeclient/client.h"
#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Writes Events about what controllers did, as `kubectl describe` shows them. The same event again
/// is counted up. Losing one is no harm, so nothing is tried again. Lives on the manager's loop.
class EventRecorder {
 public:
  EventRecorder(kubeclient::Client& client, const base::Clock& clock)
      : client_(client), clock_(clock) {}
  void Record(const Note& note);

 private:
  struct Known {
    std::string name;
    int count = 0;
    base::Time written;
  };
  kubeclient::Client& client_;
  const base::Clock& clock_;
  std::map<std::string, Known> known_;
  uint64_t next_ = 1;
};

}  // namespace isthmus::lab::controllers
