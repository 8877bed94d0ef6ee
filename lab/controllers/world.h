#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "kubeapi/json.h"
#include "lab/controllers/resources.h"

namespace isthmus::lab::controllers {

using kubeapi::Json;

/// What the controllers know of the cluster: the newest version seen of every object they watch.
/// Owned by the Manager; controllers read it and never change it.
class World {
 public:
  explicit World(const base::Clock& clock) : clock_(clock) {}

  const Json* Get(const Resource& resource, std::string_view ns, std::string_view name) const;
  /// All objects of a resource, of one namespace or (empty) all, by namespace and name.
  std::vector<const Json*> List(const Resource& resource, std::string_view ns = {}) const;
  /// Those that `owner_uid` controls.
  std::vector<const Json*> ControlledBy(const Resource& resource, std::string_view ns,
                                        std::string_view owner_uid) const;
  /// Whether an object with this uid is there, in any resource.
  bool HasUid(std::string_view uid) const { return uids_.contains(std::string(uid)); }
  base::Time Now() const { return clock_.Now(); }

  /// Takes a newer version; an older one than known is ignored. Tells whether something changed.
  bool Put(const Resource& resource, Json object);
  bool Remove(const Resource& resource, const std::string& key);

 private:
  using Objects = std::map<std::string, Json, std::less<>>;  // By "namespace/name".
  const base::Clock& clock_;
  std::map<std::string, Objects, std::less<>> resources_;  // By "group/plural".
  std::map<std::string, int, std::less<>> uids_;
};

/// An Event that users see: what was done to `about`, or (a warning) could not be.
struct Note {
  Json about;
  std::string component;
  bool warning = false;
  std::string reason;
  std::string message;
};

/// One write that a controller wants. A value, so that what controllers decide is tested without a
/// server.
struct Write {
  enum class Kind { kCreate, kReplace, kReplaceStatus, kMergePatch, kDelete, kSubresource };
  Kind kind = Kind::kCreate;
  Resource resource;
  std::string ns;
  std::string name;  ///< Empty for kCreate.
  Json object;       ///< Body; unused for kDelete.
  std::string
      subresource;  ///< For kSubresource (created, or replaced when `replace`) and kMergePatch.
  bool replace = false;
  bool at_once = false;  ///< For kDelete: without grace.
  /// Recorded when the write has succeeded; "{}" in its message stands for the written object's
  /// name.
  std::optional<Note> note = std::nullopt;
};

Write CreateObject(const Resource& resource, const std::string& ns, Json object);
Write ReplaceStatus(const Resource& resource, Json object);
Write Replace(const Resource& resource, Json object);
Write Delete(const Resource& resource, const Json& object);
/// The write with a note about `about` (of the given kind: objects in lists do not name theirs).
Write Noted(Write write, const Resource& resource, const Json& about, std::string component,
            std::string reason, std::string message);

/// A controller: looks at one object of its own resource and says what to write. Level-triggered:
/// called after every change that may matter, and again after its writes, until it wants none.
class Controller {
 public:
  virtual ~Controller() = default;
  virtual std::string_view name() const = 0;
  /// Called for each change of an object (`gone`: it was deleted): the keys ("namespace/name") to
  /// look at.
  virtual std::vector<std::string> KeysFor(const World& world, const Resource& resource,
                                           const Json& object, bool gone) const = 0;
  virtual std::vector<Write> Reconcile(const World& world, const std::string& key) = 0;
  /// When nothing is wanted now: how long until time alone may change that; 0 is never.
  virtual base::Duration LookAgainIn(const World&, const std::string&) const { return {}; }
};

/// "namespace", "name" of a key; the namespace is empty for cluster-scoped objects.
std::pair<std::string, std::string> SplitKey(const std::string& key);
/// Whether `object` is of that resource's kind key.
bool Same(const Resource& a, const Resource& b);
/// The key of the controlling owner when it is of that kind, else nothing.
std::vector<std::string> OwnerKey(const Json& object, const Resource& owner);

}  // namespace isthmus::lab::controllers
