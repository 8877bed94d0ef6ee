#include "lab/controllers/world.h"

#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::lab::controllers {
namespace {

std::string ResourceKey(const Resource& resource) { return resource.group + "/" + resource.plural; }

uint64_t VersionOf(const Json& object) {
  return std::strtoull(kubeapi::ResourceVersionOf(object).c_str(), nullptr, 10);
}

}  // namespace

const Json* World::Get(const Resource& resource, std::string_view ns, std::string_view name) const {
  auto objects = resources_.find(ResourceKey(resource));
  if (objects == resources_.end()) return nullptr;
  auto object = objects->second.find(kubeapi::KeyOf(ns, name));
  return object == objects->second.end() ? nullptr : &object->second;
}

std::vector<const Json*> World::List(const Resource& resource, std::string_view ns) const {
  std::vector<const Json*> list;
  auto objects = resources_.find(ResourceKey(resource));
  if (objects == resources_.end()) return list;
  std::string prefix = ns.empty() ? "" : std::string(ns) + "/";
  for (auto it = objects->second.lower_bound(prefix);
       it != objects->second.end() && it->first.starts_with(prefix); ++it)
    list.push_back(&it->second);
  return list;
}

std::vector<const Json*> World::ControlledBy(const Resource& resource, std::string_view ns,
                                             std::string_view owner_uid) const {
  std::vector<const Json*> owned;
  for (const Json* object : List(resource, ns)) {
    const Json* owner = kubeapi::ControllerOf(*object);
    if (owner != nullptr && kubeapi::StringAt(*owner, {"uid"}) == owner_uid)
      owned.push_back(object);
  }
  return owned;
}

bool World::Put(const Resource& resource, Json object) {
  Objects& objects = resources_[ResourceKey(resource)];
  std::string key = kubeapi::KeyOf(object);
  auto known = objects.find(key);
  if (known != objects.end()) {
    // Of a name that was deleted and made again the newer one counts, whatever came first.
    if (VersionOf(known->second) >= VersionOf(object)) return false;
    if (auto old = uids_.find(kubeapi::UidOf(known->second));
        old != uids_.end() && --old->second == 0)
      uids_.erase(old);
  }
  ++uids_[kubeapi::UidOf(object)];
  objects[key] = std::move(object);
  return true;
}

bool World::Remove(const Resource& resource, const std::string& key) {
  Objects& objects = resources_[ResourceKey(resource)];
  auto known = objects.find(key);
  if (known == objects.end()) return false;
  if (auto old = uids_.find(kubeapi::UidOf(known->second));
      old != uids_.end() && --old->second == 0)
    uids_.erase(old);
  objects.erase(known);
  return true;
}

Write CreateObject(const Resource& resource, const std::string& ns, Json object) {
  return {Write::Kind::kCreate, resource, ns, "", std::move(object), "", false};
}

Write ReplaceStatus(const Resource& resource, Json object) {
  return {Write::Kind::kReplaceStatus,
          resource,
          kubeapi::NamespaceOf(object),
          kubeapi::NameOf(object),
          std::move(object),
          "",
          false};
}

Write Replace(const Resource& resource, Json object) {
  return {Write::Kind::kReplace,
          resource,
          kubeapi::NamespaceOf(object),
          kubeapi::NameOf(object),
          std::move(object),
          "",
          false};
}

Write Delete(const Resource& resource, const Json& object) {
  return {Write::Kind::kDelete,
          resource,
          kubeapi::NamespaceOf(object),
          kubeapi::NameOf(object),
          Json(),
          "",
          false};
}

Write Noted(Write write, const Resource& resource, const Json& about, std::string component,
            std::string reason, std::string message) {
  Note note{about, std::move(component), false, std::move(reason), std::move(message)};
  note.about["kind"] = resource.kind;
  note.about["apiVersion"] = resource.api_version();
  write.note = std::move(note);
  return write;
}

std::pair<std::string, std::string> SplitKey(const std::string& key) {
  size_t slash = key.find('/');
  if (slash == std::string::npos) return {"", key};
  return {key.substr(0, slash), key.substr(slash + 1)};
}

bool Same(const Resource& a, const Resource& b) {
  return a.plural == b.plural && a.group == b.group;
}

std::vector<std::string> OwnerKey(const Json& object, const Resource& owner) {
  const Json* reference = kubeapi::ControllerOf(object);
  if (reference == nullptr || kubeapi::StringAt(*reference, {"kind"}) != owner.kind) return {};
  return {kubeapi::KeyOf(kubeapi::NamespaceOf(object), kubeapi::StringAt(*reference, {"name"}))};
}

}  // namespace isthmus::lab::controllers
