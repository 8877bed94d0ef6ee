#pragma once

#include <map>
#include <string>
#include <string_view>

#include "kubeapi/json.h"
#include "kubeclient/client.h"

namespace isthmus::lab::node {

/// Writes Events about pods. The same event again is counted up, at most every few seconds, not
/// written anew. Losing one is no harm, so nothing is tried again. Lives on the node's loop.
class EventWriter {
 public:
  EventWriter(kubeclient::Client& client, std::string node)
      : client_(client), node_(std::move(node)) {}
  void Write(const kubeapi::Json& pod, std::string_view container, bool warning,
             std::string_view reason, const std::string& message);

 private:
  struct Known {
    std::string name;
    int count = 1;
    base::Time written;
  };
  kubeclient::Client& client_;
  const std::string node_;
  std::map<std::string, Known> known_;
  uint64_t next_ = 1;
};

}  // namespace isthmus::lab::node
