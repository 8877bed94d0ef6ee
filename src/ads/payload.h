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

/// The resources of one response in wire form: frames that name each resource, between them the
/// shared bytes. What differs between streams (nonce, version) is not in it, so many streams send
/// the same one.
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

/// Works out what to send and remembers it for the other streams that need the same: the difference
/// of two sets is computed once, and a whole set is framed once, however many streams there are.
/// Holds what it remembers until Forget(). Lives on the ADS loop.
class PayloadMaker {
 public:
  /// All of `sets` that is wanted. Wanted names that do not exist: endpoints and routes are sent
  /// empty, others told as removed (delta).
  Payload Whole(Protocol protocol, std::string_view type_url, const Sets& sets,
                const Interest& interest);
  /// These names, in the same way.
  Payload Named(Protocol protocol, std::string_view type_url, const Sets& sets,
                std::span<const std::string> names);
  /// What differs between two versions of a type and is wanted. Valid until Forget().
  struct Update {
    NameList names;  ///< Sorted, unique.
    Payload payload;
  };
  const Update& Changes(Protocol protocol, std::string_view type_url, const Sets& before,
                        const Sets& now, const Interest& interest);

  void Forget();

 private:
  using SetPair = std::pair<SetPtr, SetPtr>;
  const NameList& DifferingIn(const SetPtr& before, const SetPtr& now);
  NameList Differing(const Sets& before, const Sets& now, const Interest& interest);
  const Payload& WholeSet(Protocol protocol, const SetPtr& set, const Interest& interest);
  /// Whether some name is in two of the sets, so that the later one must not be sent.
  bool Overlap(const Sets& sets);

  // Null names stand for a wildcard.
  std::map<SetPair, NameList> differences_;
  std::map<SetPair, bool> overlaps_;
  std::map<std::tuple<Protocol, SetPtr, NameSetPtr>, Payload> whole_;
  std::map<std::tuple<Protocol, std::string, Sets, Sets, NameSetPtr>, Update> updates_;
};

/// The resource of that name in the first set that has one, or null.
ResourcePtr FindIn(const Sets& sets, std::string_view name);

/// Version and type of a response, before its payload.
base::Slice ResponseHead(Protocol protocol, std::string_view version, std::string_view type_url,
                         std::string_view control_plane);
/// The nonce of a response, after its payload.
base::Slice ResponseTail(Protocol protocol, std::string_view nonce);

/// Frames resources in order, and names of removed ones after them (delta only).
Payload Frame(Protocol protocol, std::span<const ResourcePtr> resources,
              std::span<const std::string> removed);

}  // namespace isthmus::ads
