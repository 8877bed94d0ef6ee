#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kubeapi/patch.h"

namespace isthmus::kubeapi {
namespace {

using base::Code;

constexpr std::string_view kDirective = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeletePrefix = "$deleteFromPrimitiveList/";
constexpr std::string_view kOrderPrefix = "$setElementOrder/";

bool Contains(const Json& list, const Json& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

/// Merges one patch into one object. Holds the rules; recursion carries the path of field names.
class Merger {
 public:
  explicit Merger(const ListRules& rules) : rules_(rules) {}

  base::Status MergeObject(Json& target, const Json& patch, const std::string& path) {
    const std::string directive = StringAt(patch, {kDirective});
    if (directive == "replace") {
      target = WithoutDirectives(patch);
      return {};
    }
    if (directive == "delete") {
      target = Json::object();
      return {};
    }
    if (!directive.empty() && directive != "merge")
      return base::Error(Code::kInvalidArgument, "{}: unknown $patch \"{}\"", path, directive);
    if (!target.is_object()) target = Json::object();
    // Only orders look back at what was.
    const Json live = HasOrder(patch) ? target : Json();
    if (const Json* keep = Find(patch, {kRetainKeys}); keep != nullptr && keep->is_array()) {
      std::vector<std::string> gone;
      for (const auto& [key, value] : target.items())
        if (!Contains(*keep, Json(key))) gone.push_back(key);
      for (const std::string& key : gone) target.erase(key);
    }
    for (const auto& [key, value] : patch.items())
      RETURN_IF_ERROR(MergeField(target, patch, key, value, path), "strategic merge patch");
    return ApplyDirectiveFields(target, patch, live, path);
  }

 private:
  static bool HasOrder(const Json& patch) {
    for (const auto& [key, value] : patch.items())
      if (key.starts_with(kOrderPrefix)) return true;
    return false;
  }

  base::Status MergeField(Json& target, const Json& patch, const std::string& key,
                          const Json& value, const std::string& path) {
    // An explicit order is applied at the end, to lists that the patch does not change as well.
    const Json* order = Find(patch, {std::string(kOrderPrefix) + key});
    if (key.starts_with("$")) return {};
    const std::string at = AppendField(path, key);
    if (value.is_null()) {
      target.erase(key);
      return {};
    }
    if (value.is_object()) {
      if (StringAt(value, {kDirective}) == "delete") {
        target.erase(key);
        return {};
      }
      return MergeObject(target[key], value, at);
    }
    if (!value.is_array()) {
      target[key] = value;
      return {};
    }
    const ListRule& rule = rules_.For(at);
    if (rule.type == ListRule::Type::kAtomic) {
      target[key] = WithoutDirectives(value);
      return {};
    }
    Json& list = target[key];
    if (!list.is_array()) list = Json::array();
    const Json live = list;
    if (rule.type == ListRule::Type::kSet) {
      for (const Json& item : value)
        if (!Contains(list, item)) list.push_back(item);
    } else {
      RETURN_IF_ERROR(MergeList(list, value, rule, at), "list");
    }
    if (order == nullptr) Reorder(list, value, live, rule);
    return {};
  }

  base::Status MergeList(Json& list, const Json& patch, const ListRule& rule,
                         const std::string& path) {
    const std::string& key = rule.merge_key();
    for (const Json& item : patch) {
      if (!item.is_object())
        return base::Error(Code::kInvalidArgument, "{}: items must be objects", path);
      if (StringAt(item, {kDirective}) == "replace" && item.size() == 1) {
        list = Json::array();
        for (const Json& other : patch)
          if (StringAt(other, {kDirective}).empty()) list.push_back(WithoutDirectives(other));
        return {};
      }
    }
    for (const Json& item : patch) {
      const Json* id = Find(item, {key});
      if (id == nullptr)
        return base::Error(Code::kInvalidArgument, "{}: an item lacks its merge key \"{}\"", path,
                           key);
      auto it = std::find_if(list.begin(), list.end(), [&](const Json& have) {
        const Json* other = Find(have, {key});
        return other != nullptr && *other == *id;
      });
      const std::string directive = StringAt(item, {kDirective});
      if (directive == "delete") {
        if (it != list.end()) list.erase(it);
      } else if (it == list.end()) {
        // New items go last here; Reorder() puts them where they belong.
        Json added = Json::object();
        RETURN_IF_ERROR(MergeObject(added, item, path), path);
        list.push_back(std::move(added));
      } else {
        RETURN_IF_ERROR(MergeObject(*it, item, path), path);
      }
    }
    return {};
  }

  /// $deleteFromPrimitiveList and $setElementOrder, after the plain fields.
  base::Status ApplyDirectiveFields(Json& target, const Json& patch, const Json& live,
                                    const std::string& path) {
    for (const auto& [key, value] : patch.items()) {
      if (key.starts_with(kDeletePrefix) && value.is_array()) {
        const auto it = target.find(key.substr(kDeletePrefix.size()));
        if (it == target.end() || !it->is_array()) continue;
        Json kept = Json::array();
        for (const Json& item : *it)
          if (!Contains(value, item)) kept.push_back(item);
        *it = std::move(kept);
      } else if (key.starts_with(kOrderPrefix) && value.is_array()) {
        const std::string field = key.substr(kOrderPrefix.size());
        const auto it = target.find(field);
        if (it == target.end() || !it->is_array()) continue;
        const auto before = live.is_object() ? live.find(field) : live.end();
        Reorder(*it, value, live.is_object() && before != live.end() ? *before : Json::array(),
                rules_.For(AppendField(path, field)));
      }
    }
    return {};
  }

  /// Where `item` stands in a list, by its key or by itself; -1 when it is not there.
  static std::ptrdiff_t IndexIn(const Json& list, const Json& item, const ListRule& rule) {
    for (size_t i = 0; i < list.size(); ++i) {
      if (rule.type != ListRule::Type::kMap) {
        if (list[i] == item) return static_cast<std::ptrdiff_t>(i);
        continue;
      }
      const Json* want = Find(list[i], {rule.merge_key()});
      const Json* have = Find(item, {rule.merge_key()});
      if (want != nullptr && have != nullptr && *want == *have)
        return static_cast<std::ptrdiff_t>(i);
    }
    return -1;
  }

  /// Items that `order` names come in its order. The others are put among them, each before the
  /// first named item that the live list has behind it.
  static void Reorder(Json& list, const Json& order, const Json& live, const ListRule& rule) {
    std::vector<std::pair<std::ptrdiff_t, Json>> named;
    std::vector<Json> others;
    for (Json& item : list) {
      const std::ptrdiff_t rank = IndexIn(order, item, rule);
      if (rank >= 0)
        named.emplace_back(rank, std::move(item));
      else
        others.push_back(std::move(item));
    }
    std::stable_sort(named.begin(), named.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    Json merged = Json::array();
    size_t i = 0, j = 0;
    while (i < others.size() || j < named.size()) {
      bool other_first = j == named.size();
      if (i < others.size() && j < named.size()) {
        const std::ptrdiff_t left = IndexIn(live, others[i], rule),
                             right = IndexIn(live, named[j].second, rule);
        other_first = left >= 0 && right >= 0 && left < right;
      }
      merged.push_back(std::move(other_first ? others[i++] : named[j++].second));
    }
    list = std::move(merged);
  }

  /// The patch as a value of its own: directives gone, nulls dropped.
  static Json WithoutDirectives(const Json& value) {
    if (value.is_array()) {
      Json list = Json::array();
      for (const Json& item : value)
        if (!(item.is_object() && item.size() == 1 && item.contains(std::string(kDirective))))
          list.push_back(WithoutDirectives(item));
      return list;
    }
    if (!value.is_object()) return value;
    Json object = Json::object();
    for (const auto& [key, field] : value.items())
      if (!key.starts_with("$") && !field.is_null()) object[key] = WithoutDirectives(field);
    return object;
  }

  const ListRules& rules_;
};

}  // namespace

base::Result<Json> ApplyStrategicPatch(const Json& target, const Json& patch,
                                       const ListRules& rules) {
  if (!patch.is_object())
    return base::Error(Code::kInvalidArgument, "a strategic merge patch must be an object");
  Json result = target;
  RETURN_IF_ERROR(Merger(rules).MergeObject(result, patch, ""), "applying patch");
  return result;
}

}  // namespace isthmus::kubeapi
