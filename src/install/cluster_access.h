#pragma once

#include <chrono>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "kubeapi/resources.h"
#include "kubeclient/client.h"
#include "kubeclient/sync.h"

namespace isthmus::install {

using kubeapi::Json;
using kubeclient::Resource;

/// One cluster as the installer works on it: call after call, each awaited on the loop. Borrows
/// both; lives on the loop's thread. Every call gives up after 30 s.
class ClusterAccess {
 public:
  ClusterAccess(base::Loop& loop, kubeclient::Client& client) : loop_(loop), client_(client) {}

  base::Result<Json> Get(const Resource& resource, std::string_view ns, std::string_view name);
  base::Result<std::vector<Json>> List(const Resource& resource, std::string_view ns,
                                       std::string_view label_selector = {});
  base::Result<Json> Create(const Resource& resource, std::string_view ns, const Json& object);
  base::Result<Json> Patch(const Resource& resource, std::string_view ns, std::string_view name,
                           kubeclient::PatchType type, const Json& patch);
  /// Absent objects are no error.
  base::Status Delete(const Resource& resource, std::string_view ns, std::string_view name);
  base::Result<Resource> Find(std::string_view api_version, std::string_view kind);
  /// Server-side apply of all at once (field manager istio-operator, forced); namespaced objects
  /// without a namespace go to `default_ns`. What a webhook could not be asked about is tried again
  /// for 30 s: a control plane that just started may not answer yet. The first error wins and
  /// names its object.
  base::Status ApplyAll(const std::vector<Json>& objects, std::string_view default_ns);
  /// Asks again and again, 100 ms apart, until `done` says true, an error, or the timeout comes.
  base::Status Until(base::Duration timeout, const std::function<base::Result<bool>()>& done);

  base::Loop& loop() { return loop_; }
  kubeclient::Client& client() { return client_; }

 private:
  struct Refused {
    const Json* object;
    base::Status why;
  };
  /// Applies each once; what was refused comes back, and an error when the server did not answer.
  base::Result<std::vector<Refused>> ApplyOnce(const std::vector<const Json*>& objects,
                                               std::string_view default_ns);

  base::Loop& loop_;
  kubeclient::Client& client_;
};

// Resources that the installer names in code.
using kubeapi::kConfigMaps;
using kubeapi::kDefinitions;
using kubeapi::kDeployments;
using kubeapi::kEndpointSlices;
using kubeapi::kNamespaces;
using kubeapi::kPods;
using kubeapi::kSecrets;
using kubeapi::kServiceAccounts;
using kubeapi::kServices;

/// "Deployment istio-system/istiod", for messages.
std::string Describe(const Json& object);

}  // namespace isthmus::install
