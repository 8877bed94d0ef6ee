#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/loop.h"
#include "kubeapi/json.h"
#include "kubeclient/client.h"

namespace isthmus::lab::node {

/// Writes pods' statuses to the API: for each pod at most one request under way and the newest
/// state waiting; what fails is tried again. Lives on the node's loop.
class StatusWriter {
 public:
  StatusWriter(base::Loop& loop, kubeclient::Client& client) : loop_(loop), client_(client) {}
  StatusWriter(const StatusWriter&) = delete;
  StatusWriter& operator=(const StatusWriter&) = delete;

  void Write(const kubeapi::Json& pod, const kubeapi::Json& status);
  /// Deletes the pod's object for good, after its last status is written; what is written from then
  /// on is dropped.
  void Delete(const kubeapi::Json& pod);

 private:
  struct Entry {
    std::string ns, name;
    kubeapi::Json waiting;
    bool has_waiting = false, sending = false, deleting = false;
    base::Timer retry;
  };
  void Next(const std::string& uid);
  void Send(const std::string& uid, Entry& entry);
  void Sent(const std::string& uid, const base::Status& status, kubeapi::Json state);

  base::Loop& loop_;
  kubeclient::Client& client_;
  std::map<std::string, Entry> entries_;
  /// A client that goes tells those who wait for its answers, and may go after us.
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace isthmus::lab::node
