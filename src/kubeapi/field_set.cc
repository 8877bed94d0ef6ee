#include "kubeapi/field_set.h"

#include <fmt/format.h>

#include <set>

namespace isthmus::kubeapi {

namespace {

/// The items of a list by their steps, or nothing when the list is atomic or an item has no name of
/// its own.
bool NameItems(const Json& list, const ListRule& rule, std::map<std::string, const Json*>& items) {
  if (rule.type == ListRule::Type::kAtomic) return false;
  for (const Json& item : list) {
    const std::string step = ItemStep(item, rule);
    if (step.empty() || !items.emplace(step, &item).second) return false;
  }
  return true;
}

/// What no manager owns.
bool IsUnowned(std::string_view path) {
  static const std::set<std::string_view> kUnowned = {"apiVersion",
                                                      "kind",
                                                      "metadata.name",
                                                      "metadata.namespace",
                                                      "metadata.uid",
                                                      "metadata.creationTimestamp",
                                                      "metadata.generation",
                                                      "metadata.selfLink",
                                                      "metadata.managedFields",
                                                      "metadata.resourceVersion",
                                                      "metadata.deletionTimestamp",
                                                      "metadata.deletionGracePeriodSeconds"};
  return kUnowned.contains(path);
}

/// Parts that Kubernetes' types write even when they are empty, so that nobody ever adds them.
bool IsAlwaysThere(std::string_view path) {
  static const std::set<std::string_view> kAlways = {
      "metadata",   "spec",      "status",       "template",    "strategy",
      "containers", "resources", "loadBalancer", "jobTemplate", "updateStrategy"};
  const size_t dot = path.rfind('.');
  return path.empty() || kAlways.contains(dot == path.npos ? path : path.substr(dot + 1));
}

}  // namespace

std::string ItemStep(const Json& item, const ListRule& rule) {
  if (rule.type == ListRule::Type::kSet)
    return item.is_structured() ? std::string() : "v:" + ToJson(item);
  if (rule.type != ListRule::Type::kMap || !item.is_object()) return {};
  Json keys = Json::object();
  for (const std::string& key : rule.keys) {
    const Json* value = Find(item, {key});
    if (value != nullptr && !value->is_null()) {
      keys[key] = *value;
    } else if (const auto fallback = rule.key_defaults.find(key);
               fallback != rule.key_defaults.end()) {
      keys[key] = fallback->second;
    }
  }
  return keys.empty() ? std::string() : "k:" + ToJson(keys);
}

/// The recursions over objects and sets together; a friend so that the header stays short.
class FieldWalk {
 public:
  enum class Containers {
    kNone,
    kNew,
    kAll
  };  ///< Which objects and lists are members beside their leaves.

  explicit FieldWalk(const ListRules& rules) : rules_(rules) {}

  FieldSet Of(const Json& value, const std::string& path,
              Containers containers = Containers::kNone) const {
    FieldSet set;
    const bool container =
        containers == Containers::kAll || (containers == Containers::kNew && !IsAlwaysThere(path));
    if (value.is_object() && !value.empty() && !rules_.IsAtomicMap(path)) {
      set.member_ = container && !path.empty();
      for (const auto& [key, field] : value.items()) {
        const std::string at = AppendField(path, key);
        if (!IsUnowned(at)) Put(set, "f:" + key, Of(field, at, containers));
      }
      return set;
    }
    std::map<std::string, const Json*> items;
    const ListRule& rule = rules_.For(path);
    if (value.is_array() && !value.empty() && NameItems(value, rule, items)) {
      set.member_ = container;
      for (const auto& [step, item] : items) {
        FieldSet child;
        if (rule.type == ListRule::Type::kMap) child = Of(*item, path, containers);
        child.member_ = true;
        set.children_[step] = std::move(child);
      }
      return set;
    }
    set.member_ = true;
    return set;
  }

  FieldSet Changed(const Json& before, const Json& now, const std::string& path) const {
    FieldSet set;
    if (before == now) return set;
    if (before.is_object() && now.is_object() && !now.empty() && !rules_.IsAtomicMap(path)) {
      for (const auto& [key, field] : now.items()) {
        const std::string at = AppendField(path, key);
        if (IsUnowned(at)) continue;
        const auto it = before.find(key);
        Put(set, "f:" + key,
            it == before.end() ? Of(field, at, Containers::kNew) : Changed(*it, field, at));
      }
      return set;
    }
    std::map<std::string, const Json*> old_items, new_items;
    const ListRule& rule = rules_.For(path);
    if (before.is_array() && now.is_array() && !now.empty() && NameItems(before, rule, old_items) &&
        NameItems(now, rule, new_items)) {
      for (const auto& [step, item] : new_items) {
        const auto it = old_items.find(step);
        if (it != old_items.end()) {
          if (rule.type == ListRule::Type::kMap) Put(set, step, Changed(*it->second, *item, path));
          continue;
        }
        FieldSet child;
        if (rule.type == ListRule::Type::kMap) child = Of(*item, path, Containers::kNew);
        child.member_ = true;
        set.children_[step] = std::move(child);
      }
      return set;
    }
    return Of(now, path, Containers::kNew);
  }

  Json Remove(const Json& value, const FieldSet& gone, const FieldSet& kept,
              const std::string& path) const {
    static const FieldSet kNone;
    const auto in = [](const FieldSet& set, const std::string& step) -> const FieldSet& {
      const auto it = set.children_.find(step);
      return it == set.children_.end() ? kNone : it->second;
    };
    if (value.is_object()) {
      Json result = Json::object();
      for (const auto& [key, field] : value.items()) {
        const FieldSet& out = in(gone, "f:" + key);
        const FieldSet& stay = in(kept, "f:" + key);
        if (out.empty()) {
          result[key] = field;
        } else if (!(out.member_ && out.children_.empty() && stay.empty())) {
          Json rest = Remove(field, out, stay, AppendField(path, key));
          if (!(rest.is_structured() && rest.empty())) result[key] = std::move(rest);
        }
      }
      return result;
    }
    if (!value.is_array()) return value;
    const ListRule& rule = rules_.For(path);
    Json result = Json::array();
    for (const Json& item : value) {
      const std::string step = ItemStep(item, rule);
      const FieldSet& out = in(gone, step);
      const FieldSet& stay = in(kept, step);
      if (out.empty())
        result.push_back(item);
      else if (!(out.member_ && stay.empty()))
        result.push_back(Remove(item, out, stay, path));
    }
    return result;
  }

  static void Put(FieldSet& set, const std::string& step, FieldSet child) {
    if (!child.empty()) set.children_[step] = std::move(child);
  }

  static base::Result<FieldSet> Read(const Json& json, int depth) {
    FieldSet set;
    if (!json.is_object() || depth > kMaxDepth)
      return base::Error(base::Code::kInvalidArgument, "managedFields: a step must be an object");
    set.member_ = json.empty() && depth > 0;
    for (const auto& [step, child] : json.items()) {
      if (step == ".") {
        set.member_ = true;
        continue;
      }
      ASSIGN_OR_RETURN(set.children_[step], Read(child, depth + 1), step);
    }
    return set;
  }

  static void Paths(const FieldSet& set, const std::string& path, std::vector<std::string>& out) {
    if (set.member_) out.push_back(path);
    for (const auto& [step, child] : set.children_) {
      const std::string_view rest = std::string_view(step).substr(2);
      if (step.starts_with("f:")) {
        Paths(child, fmt::format("{}.{}", path, rest), out);
      } else if (step.starts_with("v:")) {
        Paths(child, fmt::format("{}[={}]", path, rest), out);
      } else {
        std::string keys;
        if (const auto json = ParseJson(rest); json.ok() && json->is_object())
          for (const auto& [key, value] : json->items())
            keys += fmt::format("{}{}={}", keys.empty() ? "" : ",", key, kubeapi::ToJson(value));
        Paths(child, fmt::format("{}[{}]", path, keys), out);
      }
    }
  }

 private:
  const ListRules& rules_;
};

base::Result<FieldSet> FieldSet::FromJson(const Json& fields_v1) {
  return FieldWalk::Read(fields_v1, 0);
}

Json FieldSet::ToJson() const {
  Json json = Json::object();
  if (member_ && !children_.empty()) json["."] = Json::object();
  for (const auto& [step, child] : children_) json[step] = child.ToJson();
  return json;
}

FieldSet FieldSet::Of(const Json& value, const ListRules& rules) {
  return FieldWalk(rules).Of(value, "");
}

FieldSet FieldSet::WithContainers(const Json& value, const ListRules& rules) {
  return FieldWalk(rules).Of(value, "", FieldWalk::Containers::kAll);
}

FieldSet FieldSet::Changed(const Json& before, const Json& now, const ListRules& rules) {
  return FieldWalk(rules).Changed(before, now, "");
}

FieldSet FieldSet::Union(const FieldSet& other) const {
  FieldSet result = *this;
  result.member_ = member_ || other.member_;
  for (const auto& [step, child] : other.children_) {
    FieldSet& mine = result.children_[step];
    mine = mine.Union(child);
  }
  return result;
}

FieldSet FieldSet::Minus(const FieldSet& other) const {
  FieldSet result;
  result.member_ = member_ && !other.member_;
  for (const auto& [step, child] : children_) {
    const auto it = other.children_.find(step);
    FieldWalk::Put(result, step, it == other.children_.end() ? child : child.Minus(it->second));
  }
  return result;
}

FieldSet FieldSet::Intersect(const FieldSet& other) const {
  FieldSet result;
  result.member_ = member_ && other.member_;
  for (const auto& [step, child] : children_)
    if (const auto it = other.children_.find(step); it != other.children_.end())
      FieldWalk::Put(result, step, child.Intersect(it->second));
  return result;
}

std::vector<std::string> FieldSet::Paths() const {
  std::vector<std::string> paths;
  FieldWalk::Paths(*this, "", paths);
  return paths;
}

Json FieldSet::RemoveFrom(const Json& object, const FieldSet& kept, const ListRules& rules) const {
  return FieldWalk(rules).Remove(object, *this, kept, "");
}

}  // namespace isthmus::kubeapi
