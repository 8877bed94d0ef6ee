#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "http/client.h"
#include "http/message.h"

namespace isthmus::agent {

/// A probe of the application as the pod had it before injection.
struct AppProbe {
  enum class Kind { kHttp, kTcp, kGrpc } kind = Kind::kHttp;
  int port = 0;
  bool tls = false;  ///< The server's certificate is not checked, as kubelets do not.
  std::string path = "/";
  std::string host;     ///< Host header; empty: the address.
  std::string service;  ///< Of gRPC's health check.
  http::Headers headers;
  base::Duration timeout = std::chrono::seconds(1);
};

/// Reads ISTIO_KUBE_APP_PROBERS: a JSON map from "/app-health/<container>/readyz" and the like to
/// probes.
base::Result<std::map<std::string, AppProbe>> ParseAppProbes(const std::string& json);

/// Runs the application's probes for the kubelet, whose own requests mTLS would refuse. Lives on
/// its loop.
class AppProber {
 public:
  /// `address`: where the application listens. `local_ip`: where probes come from, so that the
  /// capture rules lead them to the application and not to Envoy; empty: anywhere.
  AppProber(base::Loop& loop, std::map<std::string, AppProbe> probes, std::string address,
            std::string local_ip);
  ~AppProber();

  /// Status and body for the kubelet; 400 for a path that has no probe.
  void Run(const std::string& path, const http::Headers& headers,
           std::function<void(int, std::string)> done);

 private:
  struct Running;
  void RunHttp(std::shared_ptr<Running> run, const std::string& target, int redirects);
  void OnHttp(std::shared_ptr<Running> run, int redirects, base::Result<http::Response> response);
  void RunTcp(std::shared_ptr<Running> run);
  void RunGrpc(std::shared_ptr<Running> run);
  void Finish(const std::shared_ptr<Running>& run, int status, std::string body);

  base::Loop& loop_;
  std::map<std::string, AppProbe> probes_;
  std::string address_;
  std::string local_ip_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace isthmus::agent
