#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace isthmus::kubeclient {

/// How to reach one API server, worked out of a kubeconfig or the in-cluster files. A value.
struct RestConfig {
  std::string server;       ///< "https://host:port", without a path.
  std::string path_prefix;  ///< Path in the server URL, usually empty.
  std::string ca_pem;       ///< Empty: the system's roots.
  bool insecure_skip_tls_verify = false;
  std::string tls_server_name;
  std::string proxy_url;
  std::string token;
  std::string token_file;  ///< Read again when it changes (in-cluster).
  std::string client_certificate_pem;
  std::string client_key_pem;
  std::string username;
  std::string password;
  std::string impersonate_user;
  std::vector<std::string> impersonate_groups;
  std::string default_namespace = "default";
  base::Duration request_timeout =
      std::chrono::seconds(30);  ///< Of one request; watches have their own.
  std::string context;           ///< Name of the context it came from.
  std::string cluster;           ///< Name of the kubeconfig's cluster entry.
};

/// Which entries of a kubeconfig from outside (a remote secret) are refused: exec plugins, auth
/// providers but oidc, and paths to files.
enum class KubeconfigTrust { kOwn, kRemoteSecret };

/// Reads `context` (empty: the current one) out of kubeconfig text. `allowed` lists what is let
/// through in spite of kRemoteSecret: names of auth providers, "exec", "tokenFile", "clientKey",
/// "clientCertificate", "certificateAuthority".
base::Result<RestConfig> ParseKubeconfig(std::string_view yaml, std::string_view context,
                                         KubeconfigTrust trust,
                                         const std::vector<std::string>& allowed = {});
/// Follows kubectl: `path` if given, else $KUBECONFIG (a list is merged), else ~/.kube/config.
base::Result<RestConfig> LoadKubeconfig(std::string_view path, std::string_view context);
/// The service-account files of a pod and KUBERNETES_SERVICE_HOST/PORT.
base::Result<RestConfig> InClusterConfig();
/// The context names of the kubeconfig, in file order.
base::Result<std::vector<std::string>> KubeconfigContexts(std::string_view path);

}  // namespace isthmus::kubeclient
