#pragma once

#include "base/result.h"
#include "kubeapi/json.h"
#include "kubeclient/config.h"

namespace isthmus::kubeclient {

/// Runs the credential plugin of a kubeconfig's user (`exec`, as clouds' kubeconfigs have it) and
/// puts the token or client certificate that it prints into `config`. Waits for the program, a
/// minute at most; it may talk to the user on standard error. Never for kubeconfigs from outside.
/// The error names the program and says what it printed.
base::Status RunCredentialPlugin(const kubeapi::Json& exec, RestConfig& config);

}  // namespace isthmus::kubeclient
