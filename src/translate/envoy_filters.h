#pragma once

#include <google/protobuf/message.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "istio/networking/v1/envoy_filter.pb.h"
#include "model/proxy.h"
#include "model/snapshot.h"

namespace isthmus::translate {

/// One patch of an EnvoyFilter with its value read as the message that it changes. Frozen.
struct EnvoyPatch {
  using Object = config::Object<istio::networking::v1::EnvoyFilter>;
  using Spec = istio::networking::v1::EnvoyFilter::EnvoyConfigObjectPatch;
  std::shared_ptr<const Object> object;
  const Spec* spec = nullptr;                              ///< Within `object`.
  std::shared_ptr<const google::protobuf::Message> value;  ///< Null for REMOVE.
};

/// The patches that hold for some proxies, in the order in which they are applied. Frozen.
using EnvoyPatches = std::vector<std::shared_ptr<const EnvoyPatch>>;
using EnvoyPatchesPtr = std::shared_ptr<const EnvoyPatches>;

/// Which EnvoyFilters hold for a proxy. A patch whose value cannot be read is left out with a
/// warning; the others of its object hold. Immutable but for what Find() remembers;
/// single-threaded.
class EnvoyFilterIndex {
 public:
  /// Filters that did not change since `previous` (may be null) keep their patches, and equal sets
  /// their identity.
  EnvoyFilterIndex(const model::Configs& configs, std::string root_namespace,
                   const EnvoyFilterIndex* previous);
  /// Names the set of patches that holds for a proxy; empty: none.
  std::string NameFor(const model::Proxy& proxy, const model::Labels& labels) const;
  /// The set of that name; null for an empty name.
  EnvoyPatchesPtr Find(const std::string& name) const;
  /// What was left out, by "<namespace>/<name>", with the reason.
  const std::map<std::string, std::string>& problems() const { return problems_; }

 private:
  struct Filter {
    std::shared_ptr<const EnvoyPatch::Object> object;
    std::vector<std::shared_ptr<const EnvoyPatch>> patches;  ///< Those that can be read.
  };
  Filter Read(const std::shared_ptr<const EnvoyPatch::Object>& object);

  const std::string root_namespace_;
  std::vector<Filter> filters_;  ///< In the order in which they are applied.
  std::map<std::string, std::string> problems_;
  std::map<std::string, EnvoyPatchesPtr> previous_sets_;
  mutable std::map<std::string, EnvoyPatchesPtr> sets_;
};

}  // namespace isthmus::translate
