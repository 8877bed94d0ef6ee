#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <vector>

#include "ads/name_set.h"
#include "ads/request.h"
#include "base/slice.h"
#include "model/view.h"

namespace isthmus::ads {

using ResourcePtr = std::shared_ptr<const model::Resource>;
using SetPtr = std::shared_ptr<const model::ResourceSet>;
/// The sets of one type in a view, in order. Null pointers and a null list mean nothing.
using Sets = std::vector<SetPtr>;

/// The resources of one response in wire form: frames that name each resource, between them the shared
/// bytes. What differs between streams (nonce, version) is not in it, so many streams send the same one.
struct Payload {
  std::vector<base::Slice> parts;
  size_t bytes = 0;
  size_t resources = 0;
  size_t removed = 0;
  bool empty() const { return resources == 0 && removed == 0; }
  void Append(const Payload& other);
};

/// What a stream wants of a type: everything, or these names.
struct Interest {
  bool wildcard = false;
  NameSetPtr names;  ///< Never null.
  bool Wants(std::string_view name) const { return wildcard || names->Has(name); }
};

/// Names whose entries differ between two sets.
using NameList = std::vector<std::string>;

/// Works out what to send and remembers it for the other streams that need the same: the difference of two
/// sets is computed once, and a whole set is framed once, however many streams there are.
/// Holds what it remembers until Forget(). Lives on the ADS loop.
class PayloadMaker {
 public:
  /// All that exists in `sets` and is wanted. `missing_removed`: names that do not exist are told as removed
  /// (delta). With state of the world an endpoint list that does not exist is sent empty, since a cluster
  /// would wait for it forever.
  Payload Whole(Protocol protocol, std::string_view type_url, const Sets& sets, const Interest& interest);
  /// What of `names` is wanted and exists, and as removed what does not.
  Payload Named(Protocol protocol, std::string_view type_url, const Sets& sets,
                std::span<const std::string> names);
  /// Names that differ between two versions of a type and are wanted; sorted, unique.
  NameList Differing(const Sets& before, const Sets& now, const Interest& interest);

  void Forget();

 private:
  using SetPair = std::pair<SetPtr, SetPtr>;
  const NameList& DifferingIn(const SetPtr& before, const SetPtr& now);
  const Payload& WholeSet(Protocol protocol, const SetPtr& set, const Interest& interest);

  std::map<SetPair, NameList> differences_;
  std::map<std::tuple<Protocol, SetPtr, NameSetPtr>, Payload> whole_;  // Null names: wildcard.
};

/// The resource of that name in the first set that has one, or null.
ResourcePtr FindIn(const Sets& sets, std::string_view name);

/// Version and type of a response, before its payload.
base::Slice ResponseHead(Protocol protocol, std::string_view version, std::string_view type_url,
                         std::string_view control_plane);
/// The nonce of a response, after its payload.
base::Slice ResponseTail(Protocol protocol, std::string_view nonce);

/// Frames resources in order, and names of removed ones after them (delta only).
Payload Frame(Protocol protocol, std::span<const ResourcePtr> resources, std::span<const std::string> removed);

}  // namespace isthmus::ads
