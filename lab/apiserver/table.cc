#include "lab/apiserver/table.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "lab/apiserver/json_path.h"

namespace isthmus::lab::apiserver {
namespace {

Json Cell(const Column& column, const Json& object, int64_t now) {
  if (column.cell) {
    std::string text = column.cell(object, now);
    if (column.type == "integer" || column.type == "count") return std::atoll(text.c_str());
    return text;
  }
  std::string_view path = column.path;
  const bool none = path.starts_with("?");
  if (none) path.remove_prefix(1);
  const auto values = EvaluatePath(object, path);
  const Json* value = values.empty() || values[0]->is_null() ? nullptr : values[0];
  if (column.type == "date" && column.format.empty()) {
    if (column.name == "Created At") return value ? *value : Json();
    return value && value->is_string() ? HumanAge(value->get<std::string>(), now)
           : value                     ? "<invalid>"
                                       : "<unknown>";
  }
  if (!value) {
    // An absent field of a custom resource is an empty cell; of a built-in kind, what Go's zero
    // value prints.
    if (none) return "<none>";
    if (column.type == "integer") return column.custom ? Json() : Json(0);
    if (column.type == "boolean") return column.custom ? Json() : Json(false);
    return column.custom ? Json() : Json("");
  }
  if (column.type == "integer")
    return value->is_number_integer() ? *value
           : value->is_number()       ? Json(value->get<int64_t>())
                                      : Json();
  if (column.type == "number") return value->is_number() ? *value : Json();
  if (column.type == "boolean") return value->is_boolean() ? *value : Json();
  if (values.size() > 1) {
    std::string all;
    for (const Json* each : values) all += (all.empty() ? "" : ",") + PlainText(*each);
    return all;
  }
  return PlainText(*value);
}

}  // namespace

std::string HumanDuration(int64_t seconds) {
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  const int64_t minutes = seconds / 60, hours = seconds / 3600, days = hours / 24,
                years = days / 365;
  auto two = [](int64_t big, const char* unit, int64_t small, const char* small_unit) {
    return small == 0 ? fmt::format("{}{}", big, unit)
                      : fmt::format("{}{}{}{}", big, unit, small, small_unit);
  };
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return fmt::format("{}m", minutes);
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return fmt::format("{}h", hours);
  if (hours < 24 * 8) return two(days, "d", hours % 24, "h");
  if (days < 365 * 2) return fmt::format("{}d", days);
  if (years < 8) return two(years, "y", days % 365, "d");
  return fmt::format("{}y", years);
}

std::string HumanAge(const std::string& time, int64_t now) {
  auto parsed = base::ParseTime(time);
  if (!parsed.ok()) return "<unknown>";
  return HumanDuration(
      now - std::chrono::duration_cast<std::chrono::seconds>(parsed->time_since_epoch()).count());
}

Json TableColumns(const KindVersion& version) {
  Json columns = Json::array();
  auto add = [&](const std::string& name, const std::string& type, const std::string& format,
                 const std::string& description, int priority) {
    columns.push_back({{"name", name},
                       {"type", type},
                       {"format", format},
                       {"description", description},
                       {"priority", priority}});
  };
  // Events print their name last; every other kind first.
  const bool named = version.columns.empty() || version.columns.front().name != "Last Seen";
  if (named) add("Name", "string", "name", "Name must be unique within a namespace.", 0);
  for (const Column& column : version.columns) {
    const bool age = column.type == "date" && column.name == "Age" && !column.custom;
    // Kubernetes declares some counts and truths as strings, and sends numbers all the same.
    add(column.name, age || column.type == "count" ? "string" : column.type, column.format,
        column.description, column.priority);
  }
  return columns;
}

Json TableRow(const KindVersion& version, const Json& object, const std::string& include,
              int64_t now) {
  Json cells = Json::array();
  const bool named = version.columns.empty() || version.columns.front().name != "Last Seen";
  if (named) cells.push_back(kubeapi::StringAt(object, {"metadata", "name"}));
  for (const Column& column : version.columns) cells.push_back(Cell(column, object, now));
  Json row = {{"cells", std::move(cells)}};
  if (include == "Object") {
    row["object"] = object;
  } else if (include != "None") {
    row["object"] = PartialMetadata(object);
  }
  return row;
}

Json PartialMetadata(const Json& object) {
  Json out = {{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}};
  if (const Json* metadata = kubeapi::Find(object, {"metadata"})) out["metadata"] = *metadata;
  return out;
}

}  // namespace isthmus::lab::apiserver
