#include "kubeapi/apply.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "kubeapi/field_set.h"
#include "kubeapi/meta.h"

namespace isthmus::kubeapi {
namespace {

/// One entry of metadata.managedFields.
struct Entry {
  std::string manager;
  std::string operation;  ///< "Apply" or "Update"
  std::string subresource;
  std::string api_version;
  std::string time;
  FieldSet fields;
};

std::vector<Entry> ReadEntries(const Json& object) {
  std::vector<Entry> entries;
  for (const Json& item : ItemsAt(object, {"metadata", "managedFields"})) {
    const Json* fields = Find(item, {"fieldsV1"});
    auto set = fields == nullptr ? base::Result<FieldSet>(FieldSet()) : FieldSet::FromJson(*fields);
    if (!set.ok()) continue;
    entries.push_back({StringAt(item, {"manager"}), StringAt(item, {"operation"}),
                       StringAt(item, {"subresource"}), StringAt(item, {"apiVersion"}),
                       StringAt(item, {"time"}), std::move(set).value()});
  }
  return entries;
}

void WriteEntries(Json& object, std::vector<Entry> entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.operation, a.time, a.manager) < std::tie(b.operation, b.time, b.manager);
  });
  Json list = Json::array();
  for (const Entry& entry : entries) {
    if (entry.fields.empty()) continue;
    Json item = {{"manager", entry.manager},        {"operation", entry.operation},
                 {"apiVersion", entry.api_version}, {"time", entry.time},
                 {"fieldsType", "FieldsV1"},        {"fieldsV1", entry.fields.ToJson()}};
    if (!entry.subresource.empty()) item["subresource"] = entry.subresource;
    list.push_back(std::move(item));
  }
  if (list.empty())
    Erase(object, {"metadata", "managedFields"});
  else
    Ensure(object, {"metadata", "managedFields"}) = std::move(list);
}

/// The manager's own entry for `operation`, made when absent.
Entry& OwnEntry(std::vector<Entry>& entries, const FieldManager& manager,
                std::string_view operation) {
  for (Entry& entry : entries)
    if (entry.manager == manager.name && entry.operation == operation &&
        entry.subresource == manager.subresource)
      return entry;
  entries.push_back({manager.name, std::string(operation), manager.subresource, "", "", {}});
  return entries.back();
}

/// Gives an entry its new fields; the time moves only when they differ.
void Own(Entry& entry, FieldSet fields, const Json& object, const FieldManager& manager) {
  const std::string api_version = ApiVersionOf(object);
  if (entry.fields == fields && entry.api_version == api_version && !entry.time.empty()) return;
  entry.fields = std::move(fields);
  entry.api_version = api_version;
  entry.time = base::FormatTime(manager.now);
}

/// Lays `applied` over `live` by the rules.
Json Merge(const Json& live, const Json& applied, const ListRules& rules, const std::string& path) {
  if (live.is_object() && applied.is_object() && !rules.IsAtomicMap(path)) {
    Json merged = live;
    for (const auto& [key, value] : applied.items()) {
      const std::string at = path.empty() ? key : path + "." + key;
      const auto it = live.find(key);
      merged[key] = it == live.end() ? value : Merge(*it, value, rules, at);
    }
    return merged;
  }
  const ListRule& rule = rules.For(path);
  if (!live.is_array() || !applied.is_array() || rule.type == ListRule::Type::kAtomic)
    return applied;
  Json merged = live;
  for (const Json& item : applied) {
    const std::string step = ItemStep(item, rule);
    if (step.empty()) return applied;
    const auto it = std::find_if(merged.begin(), merged.end(),
                                 [&](const Json& have) { return ItemStep(have, rule) == step; });
    if (it == merged.end())
      merged.push_back(item);
    else if (rule.type == ListRule::Type::kMap)
      *it = Merge(*it, item, rules, path);
  }
  return merged;
}

/// What an apply may not set: the server's own fields.
Json Stripped(Json applied) {
  for (const std::string_view field :
       {"managedFields", "creationTimestamp", "uid", "resourceVersion", "generation"})
    Erase(applied, {"metadata", field});
  return applied;
}

}  // namespace

ApplyOutcome ApplyObject(const Json& live, const Json& applied_raw, const FieldManager& manager,
                         bool force, const ListRules& rules) {
  const Json applied = Stripped(applied_raw);
  std::vector<Entry> entries = ReadEntries(live);
  Entry& own = OwnEntry(entries, manager, "Apply");
  const FieldSet last = own.fields;
  const FieldSet wanted = FieldSet::Of(applied, rules);
  Json merged = live.is_object() ? Merge(live, applied, rules, "") : applied;

  // Fields that this apply gives another value belong to it now; others who own them must agree.
  const FieldSet changed = FieldSet::Changed(live, merged, rules);
  ApplyOutcome outcome;
  FieldSet others;
  for (Entry& entry : entries) {
    if (&entry == &own) continue;
    const FieldSet taken = entry.fields.Intersect(changed);
    if (!taken.empty() && !force) {
      for (const std::string& path : taken.Paths()) {
        std::string who = fmt::format("conflict with \"{}\"", entry.manager);
        if (!entry.subresource.empty())
          who += fmt::format(" with subresource \"{}\"", entry.subresource);
        if (entry.operation == "Update") who += fmt::format(" using {}", entry.api_version);
        outcome.conflicts.push_back({"FieldManagerConflict", std::move(who), path});
      }
    }
    entry.fields = entry.fields.Minus(taken);
    others = others.Union(entry.fields);
  }
  if (!outcome.conflicts.empty()) return outcome;

  const FieldSet dropped = last.Minus(wanted);
  if (!dropped.empty()) merged = dropped.RemoveFrom(merged, others.Union(wanted), rules);
  Own(own, wanted, applied, manager);
  WriteEntries(merged, std::move(entries));
  outcome.object = std::move(merged);
  return outcome;
}

ApiError ApplyConflict(const std::vector<StatusCause>& conflicts) {
  ApiError error;
  error.code = 409;
  error.reason = "Conflict";
  error.message = fmt::format("Apply failed with {} conflict{}:", conflicts.size(),
                              conflicts.size() == 1 ? "" : "s");
  for (const StatusCause& cause : conflicts)
    error.message += conflicts.size() == 1 ? fmt::format(" {}: {}", cause.message, cause.field)
                                           : fmt::format("\n- {}: {}", cause.message, cause.field);
  error.causes = conflicts;
  return error;
}

Json TrackUpdate(const Json& before, Json after, const FieldManager& manager,
                 const ListRules& rules) {
  const Json* given = Find(after, {"metadata", "managedFields"});
  const bool cleared = given != nullptr && given->is_array() && !before.is_null() &&
                       (given->empty() || (given->size() == 1 && (*given)[0] == Json::object()));
  std::vector<Entry> entries = cleared ? std::vector<Entry>() : ReadEntries(before);
  const FieldSet changed = FieldSet::Changed(before, after, rules);
  const FieldSet removed =
      FieldSet::WithContainers(before, rules).Minus(FieldSet::WithContainers(after, rules));
  for (Entry& entry : entries) {
    const bool own = entry.manager == manager.name && entry.operation == "Update" &&
                     entry.subresource == manager.subresource;
    entry.fields = entry.fields.Minus(removed).Minus(own ? FieldSet() : changed);
  }
  if (!changed.empty()) {
    Entry& own = OwnEntry(entries, manager, "Update");
    Own(own, own.fields.Union(changed), after, manager);
  }
  WriteEntries(after, std::move(entries));
  return after;
}

}  // namespace isthmus::kubeapi
