#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/loop.h"
#include "lab/apiserver/engine.h"
#include "pki/certificate.h"

namespace isthmus::http {
class Client;
class ServerStream;
}  // namespace isthmus::http

namespace isthmus::lab::apiserver {

/// Passes exec, attach, port-forward and logs on to the kubelet of the pod's node, and proxy
/// requests to pods, services and nodes. Upgraded connections (SPDY/3.1, WebSocket) go through as
/// raw bytes, so that this server needs to know neither protocol. Lives on its loop.
class NodeProxy {
 public:
  NodeProxy(base::Loop& loop, Engine& engine,
            std::shared_ptr<const pki::KeyCertificate> client_certificate);
  ~NodeProxy();
  void Serve(const std::shared_ptr<http::ServerStream>& stream, const Request& request,
             const RequestInfo& info);

 private:
  struct Target {
    std::string origin;  ///< "https://10.0.0.2:10250"
    std::string path;    ///< With its query.
  };
  Outcome<Target> Resolve(const Request& request, const RequestInfo& info) const;
  Outcome<Target> OfPod(const Request& request, const RequestInfo& info) const;
  Outcome<Target> OfProxy(const Request& request, const RequestInfo& info) const;
  Outcome<std::string> Kubelet(const std::string& node) const;
  std::shared_ptr<http::Client> ClientFor(const std::string& origin);
  void Upgrade(const std::shared_ptr<http::ServerStream>& stream, const Target& target);
  void Forward(const std::shared_ptr<http::ServerStream>& stream, const Target& target);

  base::Loop& loop_;
  Engine& engine_;
  std::shared_ptr<const pki::KeyCertificate> certificate_;
  std::map<std::string, std::shared_ptr<http::Client>> clients_;
};

}  // namespace isthmus::lab::apiserver
