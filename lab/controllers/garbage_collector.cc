#include "lab/controllers/garbage_collector.h"

#include <algorithm>

#include "kubeapi/meta.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::Find;
using kubeapi::StringAt;

std::string KeyFor(const Resource& resource, const Json& object) {
  return resource.group + "/" + resource.plural + "|" + kubeapi::KeyOf(object);
}

bool HasFinalizer(const Json& object, const char* finalizer) {
  const Json* list = Find(object, {"metadata", "finalizers"});
  return list != nullptr && list->is_array() &&
         std::find(list->begin(), list->end(), finalizer) != list->end();
}

Json WithoutFinalizer(Json object, const char* finalizer) {
  Json left = Json::array();
  for (const Json& one : object["metadata"]["finalizers"])
    if (one != finalizer) left.push_back(one);
  object["metadata"]["finalizers"] = std::move(left);
  return object;
}

Json WithoutOwner(Json object, const std::string& uid) {
  Json left = Json::array();
  for (const Json& one : object["metadata"]["ownerReferences"])
    if (StringAt(one, {"uid"}) != uid) left.push_back(one);
  object["metadata"]["ownerReferences"] = std::move(left);
  return object;
}

}  // namespace

std::vector<GarbageCollector::Dependent> GarbageCollector::DependentsOf(const World& world,
                                                                        const Json& owner) const {
  std::vector<Dependent> dependents;
  for (const Resource& resource : watched_)
    for (const Json* object :
         world.List(resource, resource.namespaced ? kubeapi::NamespaceOf(owner) : ""))
      if (kubeapi::IsOwnedBy(*object, kubeapi::UidOf(owner)))
        dependents.push_back({&resource, object});
  return dependents;
}

std::vector<std::string> GarbageCollector::KeysFor(const World& world, const Resource& resource,
                                                   const Json& object, bool gone) const {
  std::vector<std::string> keys;
  if (gone) {
    for (const Dependent& dependent : DependentsOf(world, object))
      keys.push_back(KeyFor(*dependent.resource, *dependent.object));
  } else if (kubeapi::IsBeingDeleted(object) || object["metadata"].contains("ownerReferences")) {
    keys.push_back(KeyFor(resource, object));
  }
  // An owner that waits for its dependents looks again when one of them is gone.
  if (const Json* owners = Find(object, {"metadata", "ownerReferences"});
      gone && owners != nullptr && owners->is_array())
    for (const Json& owner : *owners)
      for (const Resource& other : watched_)
        if (other.kind == StringAt(owner, {"kind"}))
          keys.push_back(other.group + "/" + other.plural + "|" +
                         kubeapi::KeyOf(other.namespaced ? kubeapi::NamespaceOf(object) : "",
                                        StringAt(owner, {"name"})));
  return keys;
}

std::vector<Write> GarbageCollector::Finish(const World& world, const Resource& resource,
                                            const Json& object) const {
  std::vector<Write> writes;
  std::vector<Dependent> dependents = DependentsOf(world, object);
  if (HasFinalizer(object, "orphan")) {
    for (const Dependent& dependent : dependents)
      writes.push_back(
          Replace(*dependent.resource, WithoutOwner(*dependent.object, kubeapi::UidOf(object))));
    if (writes.empty()) writes.push_back(Replace(resource, WithoutFinalizer(object, "orphan")));
  } else if (HasFinalizer(object, "foregroundDeletion")) {
    for (const Dependent& dependent : dependents)
      if (!kubeapi::IsBeingDeleted(*dependent.object))
        writes.push_back(Delete(*dependent.resource, *dependent.object));
    if (dependents.empty())
      writes.push_back(Replace(resource, WithoutFinalizer(object, "foregroundDeletion")));
  }
  return writes;
}

std::vector<Write> GarbageCollector::Reconcile(const World& world, const std::string& key) {
  size_t bar = key.find('|');
  auto [ns, object_name] = SplitKey(key.substr(bar + 1));
  for (const Resource& resource : watched_) {
    if (resource.group + "/" + resource.plural != key.substr(0, bar)) continue;
    const Json* object = world.Get(resource, ns, object_name);
    if (object == nullptr) return {};
    if (kubeapi::IsBeingDeleted(*object)) return Finish(world, resource, *object);
    const Json* owners = Find(*object, {"metadata", "ownerReferences"});
    if (owners == nullptr || !owners->is_array() || owners->empty()) return {};
    for (const Json& owner : *owners) {
      bool known_kind = std::any_of(watched_.begin(), watched_.end(), [&](const Resource& one) {
        return one.kind == StringAt(owner, {"kind"});
      });
      // Of a kind that nobody watches here it is not known that it is gone.
      if (!known_kind || world.HasUid(StringAt(owner, {"uid"}))) return {};
    }
    return {Delete(resource, *object)};
  }
  return {};
}

}  // namespace isthmus::lab::controllers
