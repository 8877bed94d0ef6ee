#pragma once

#include <string>

#include "base/result.h"
#include "install/cluster_access.h"

namespace isthmus::install {

struct RemoteSecretOptions {
  std::string name;    ///< Cluster ID; empty: the UID of namespace kube-system.
  std::string server;  ///< Empty: the one of the kubeconfig in use.
  std::string tls_server_name;
  std::string ns = "istio-system";
  enum class Type { kRemote, kConfig } type = Type::kRemote;
  std::string service_account;  ///< Empty: the type's own.
  bool create_service_account = true;
  std::string secret_name;  ///< Which token Secret; empty: the account's first.
};

struct RemoteSecret {
  Json secret;          ///< The Secret to apply in the other clusters.
  std::string warning;  ///< Such as a loopback address that others cannot reach; may be empty.
};

/// Makes the credentials by which another control plane reads this cluster. Makes the reader
/// account and its token Secret where they are missing; changes nothing else. The error names the
/// object that is in the way.
base::Result<RemoteSecret> CreateRemoteSecret(ClusterAccess cluster,
                                              const RemoteSecretOptions& options);

/// The Secret as the command prints it: a header line, the document, and a closing "---".
std::string PrintRemoteSecret(const Json& secret);

}  // namespace isthmus::install
