#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lab/apiserver/engine.h"
#include "lab/apiserver/writer.h"

namespace isthmus::lab::apiserver {

class CrdRegistry;
class OpenApi;

struct HandlerOptions {
  std::string service_cidr = "10.96.0.0/16";
  int node_port_min = 30000;
  int node_port_max = 32767;
  /// Checks RBAC; off in tests of the engine alone.
  bool authorize = true;
  std::string git_version = "v1.32.0";
};

/// The API server without sockets: a request in, a response out. What needs the network (webhooks,
/// the kubelet's streams) is plugged in or left to the caller. Lives on the store's thread.
class Handler {
 public:
  static base::Result<std::unique_ptr<Handler>> Create(Store& store, const base::Clock& clock,
                                                       HandlerOptions options);
  ~Handler();

  /// Answers. `done` may be called inside the call.
  void Handle(const Request& request, std::function<void(Response)> done);

  /// Applies Impersonate-* headers to request->user; the refusal when it may not.
  std::optional<kubeapi::ApiError> Impersonate(Request* request);
  /// The refusal when the request's user may not do this.
  std::optional<kubeapi::ApiError> Authorize(const User& user, const RequestInfo& info);
  /// Requests that are answered by a node: exec, attach, port-forward, logs, proxies.
  static bool IsConnect(const RequestInfo& info);

  /// Writes what every cluster has from the start: namespaces, default policy, the service
  /// "kubernetes" (at `address` and `port`), priority classes. Call once before serving.
  void Bootstrap(const std::string& address, int port);

  Engine& engine() { return *engine_; }
  Writer& writer() { return *writer_; }

 private:
  Handler(Store& store, const base::Clock& clock, HandlerOptions options);
  void HandleResource(const Request& request, const RequestInfo& info,
                      std::function<void(Response)> done);
  void HandleSubresource(const Request& request, const RequestInfo& info, const KindPtr& kind,
                         const KindVersion& version, std::function<void(Response)> done);
  std::optional<Response> HandlePath(const Request& request);

  HandlerOptions options_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<CrdRegistry> crds_;
  std::unique_ptr<OpenApi> openapi_;
};

}  // namespace isthmus::lab::apiserver
