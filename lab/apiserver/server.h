#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "lab/apiserver/handler.h"

namespace isthmus::lab::apiserver {

struct ServerConfig {
  std::vector<std::string> addresses = {"127.0.0.1"};
  uint16_t port = 6443;  ///< 0 takes a free one (of the first address; the others take the same).
  std::string data_dir;  ///< Store, keys and kubeconfigs; made when absent.
  std::vector<std::string>
      sans;  ///< Names and addresses beside `addresses` that clients reach the server by.
  /// Where pods reach the server (endpoints of the service "kubernetes"); empty takes the first
  /// address.
  std::string advertise_address;
  std::string service_cidr = "10.96.0.0/16";
  int node_port_min = 30000;
  int node_port_max = 32767;
  std::string cluster_name = "isthmus";  ///< Context name in the kubeconfigs.
  std::string issuer = "https://kubernetes.default.svc.cluster.local";
  std::string git_version = "v1.32.0";
};

/// The API server of one cluster: the engine behind TLS. Start() makes what is missing in data_dir:
/// pki/ (keys), store.db, admin.kubeconfig and controllers.kubeconfig. Lives on its loop;
/// destroying it closes everything.
class ApiServer {
 public:
  static base::Result<std::unique_ptr<ApiServer>> Start(base::Loop& loop, ServerConfig config);
  ~ApiServer();

  uint16_t port() const;
  const std::string& admin_kubeconfig() const;  ///< The file's path.
  Handler& handler();

 private:
  struct Impl;
  explicit ApiServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::lab::apiserver
