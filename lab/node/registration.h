#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/loop.h"
#include "kubeapi/json.h"
#include "kubeclient/client.h"
#include "lab/node/pod_source.h"

namespace isthmus::lab::node {

/// Keeps the node's object and lease in the API: makes them at start, says again every ten seconds
/// that the node lives. Lives on the node's loop.
class Registration {
 public:
  Registration(base::Loop& loop, kubeclient::Client& client, NodeFacts node, std::string pod_range,
               std::map<std::string, std::string> labels);
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;
  void Start();

 private:
  void EnsureNode();
  void ReportStatus();
  void RenewLease();
  kubeapi::Json NodeObject() const;
  kubeapi::Json Status() const;

  base::Loop& loop_;
  kubeclient::Client& client_;
  const NodeFacts node_;
  const std::string pod_range_;
  const std::map<std::string, std::string> labels_;
  std::string since_;
  base::Timer renewal_, retry_;
};

}  // namespace isthmus::lab::node
