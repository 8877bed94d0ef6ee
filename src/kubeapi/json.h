#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

extern template class nlohmann::basic_json<>;

namespace isthmus::kubeapi {

/// A Kubernetes object or a part of one, as JSON. Objects keep their keys sorted.
using Json = nlohmann::json;

/// Nesting beyond this is refused by the parsers, so that no later walk can exhaust the stack.
inline constexpr int kMaxDepth = 512;

/// Parses JSON; the error names the place.
base::Result<Json> ParseJson(std::string_view text);
/// Parses one YAML document (YAML 1.1 scalars as kubectl reads them: unquoted true, 1, 1.5 and null
/// are not strings). The error names line and column.
base::Result<Json> ParseYaml(std::string_view text);
/// Parses a stream of documents divided by "---"; empty ones are left out.
base::Result<std::vector<Json>> ParseYamlStream(std::string_view text);
/// Prints as kubectl does: keys sorted, two spaces, lists at their key's column, long text as
/// blocks.
std::string ToYaml(const Json& value);
/// Prints JSON; never throws (bytes that are not UTF-8 are replaced). `indent` below zero: one
/// line.
std::string ToJson(const Json& value, int indent = -1);

/// The string at a path of keys ("metadata", "name"), or "" when a step is absent or of another
/// type. Input from outside is read with these, so that a wrong type is never an exception.
std::string StringAt(const Json& value, std::initializer_list<std::string_view> path);
/// The value at a path, or null.
const Json* Find(const Json& value, std::initializer_list<std::string_view> path);
/// As Find, to change what is there; null when a step is absent.
Json* FindMutable(Json& value, std::initializer_list<std::string_view> path);
/// The value at a path, with objects made on the way (a step that is no object is replaced).
Json& Ensure(Json& value, std::initializer_list<std::string_view> path);
/// Takes the value at a path away; absent is fine.
void Erase(Json& value, std::initializer_list<std::string_view> path);
/// The items of the list at a path, or of the value itself; empty when it is no list.
const std::vector<Json>& ItemsAt(const Json& value,
                                 std::initializer_list<std::string_view> path = {});
/// The strings among them; what is no string is left out.
std::vector<std::string> StringsAt(const Json& value, std::initializer_list<std::string_view> path);
int64_t IntAt(const Json& value, std::initializer_list<std::string_view> path,
              int64_t fallback = 0);
bool BoolAt(const Json& value, std::initializer_list<std::string_view> path, bool fallback = false);

}  // namespace isthmus::kubeapi
