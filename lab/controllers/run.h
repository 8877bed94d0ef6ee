#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace isthmus::lab::controllers {

struct Options {
  std::string kubeconfig;        ///< How to reach the cluster, as its administrator.
  std::string ca_file;           ///< Certificates of the cluster's CA.
  std::string ca_key_file;       ///< Its key; empty: requests for certificates are not signed.
  std::string account_key_file;  ///< The RSA key of service-account tokens.
  std::string issuer =
      "kubernetes/serviceaccount";  ///< Of token Secrets; the one by which legacy tokens are known.
  std::vector<std::string> load_balancer_pool;   ///< "a.b.c.d" or "first-last".
  std::vector<std::string> load_balancer_fixed;  ///< "namespace/service=address".
  bool token_secrets = false;  ///< A token Secret for every account, as before Kubernetes 1.24.
};

/// Runs all controllers of one cluster until SIGTERM or SIGINT. The error names the option that is
/// wrong.
base::Status RunControllers(const Options& options);

/// The program `isthmus-lab controllers`: parses its options, runs, returns the exit code.
int Run(int argc, char** argv);

}  // namespace isthmus::lab::controllers
