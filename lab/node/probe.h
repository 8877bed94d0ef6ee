#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "kubeapi/json.h"

namespace isthmus::lab::node {

class Container;

/// Does one handler of a probe or a lifecycle hook (httpGet, tcpSocket, exec, grpc as a TCP
/// connection, sleep) once and tells how it went. Dropping the returned handle cancels it.
std::shared_ptr<void> RunHandler(base::Loop& loop, const kubeapi::Json& handler,
                                 const kubeapi::Json& container_spec, const std::string& pod_ip,
                                 const Container& container, base::Duration timeout,
                                 std::function<void(base::Status)> done);

/// One probe of one running container. Lives on its loop.
///
/// Until the first success it looks more often than its period, so that a pod is seen ready as soon
/// as it is; failures count at the pace of the period all the same.
class Probe {
 public:
  enum class Kind { kStartup, kLiveness, kReadiness };
  struct Events {
    std::function<void(bool passing)> changed;          ///< Each time the verdict changes.
    std::function<void(const std::string&)> unhealthy;  ///< Each counted failure, in words.
  };

  Probe(base::Loop& loop, Kind kind, kubeapi::Json spec, kubeapi::Json container_spec,
        std::string pod_ip, const Container& container, Events events);
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

 private:
  void Look();
  void Looked(const base::Status& status);
  void Count(bool success, const std::string& why);

  base::Loop& loop_;
  const Kind kind_;
  const kubeapi::Json spec_;
  const kubeapi::Json container_spec_;
  const std::string pod_ip_;
  const Container& container_;
  Events events_;
  const base::Duration period_;
  base::Duration since_counted_{};
  int successes_ = 0;
  int failures_ = 0;
  int verdict_ = -1;  // -1 none yet, 0 failing, 1 passing.
  base::Timer timer_;
  std::shared_ptr<void> running_;
};

}  // namespace isthmus::lab::node
