#include "kubeapi/json.h"

#include <fmt/format.h>

#include "kubeapi/json_reader.h"

template class nlohmann::basic_json<>;

namespace isthmus::kubeapi {
namespace {

/// Whether brackets outside strings nest deeper than kMaxDepth.
bool TooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

/// nlohmann's messages begin with "[json.exception.parse_error.101] parse error at ".
std::string_view WithoutTag(std::string_view what) {
  if (const size_t end = what.find("] "); what.starts_with("[") && end != what.npos)
    what.remove_prefix(end + 2);
  return what;
}

}  // namespace

base::Result<Json> ParseJson(std::string_view text) {
  if (Json value; JsonReader(text).Read(value)) return value;
  if (TooDeep(text))
    return base::Error(base::Code::kInvalidArgument, "JSON nested deeper than {} levels",
                       kMaxDepth);
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    return base::Error(base::Code::kInvalidArgument, "invalid JSON: {}", WithoutTag(error.what()));
  }
}

std::string ToJson(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

const Json* Find(const Json& value, std::initializer_list<std::string_view> path) {
  const Json* at = &value;
  for (const std::string_view key : path) {
    if (!at->is_object()) return nullptr;
    const auto it = at->find(key);
    if (it == at->end()) return nullptr;
    at = &*it;
  }
  return at;
}

Json* FindMutable(Json& value, std::initializer_list<std::string_view> path) {
  return const_cast<Json*>(Find(value, path));
}

Json& Ensure(Json& value, std::initializer_list<std::string_view> path) {
  Json* at = &value;
  for (const std::string_view key : path) {
    if (!at->is_object()) *at = Json::object();
    at = &(*at)[std::string(key)];
  }
  return *at;
}

void Erase(Json& value, std::initializer_list<std::string_view> path) {
  Json* at = &value;
  size_t left = path.size();
  for (const std::string_view key : path) {
    if (!at->is_object()) return;
    const auto it = at->find(key);
    if (it == at->end()) return;
    if (--left == 0) {
      at->erase(it);
      return;
    }
    at = &*it;
  }
}

const std::vector<Json>& ItemsAt(const Json& value, std::initializer_list<std::string_view> path) {
  static const std::vector<Json> kNone;
  const Json* at = Find(value, path);
  return at != nullptr && at->is_array() ? at->get_ref<const std::vector<Json>&>() : kNone;
}

std::vector<std::string> StringsAt(const Json& value,
                                   std::initializer_list<std::string_view> path) {
  std::vector<std::string> strings;
  for (const Json& item : ItemsAt(value, path))
    if (item.is_string()) strings.push_back(item.get<std::string>());
  return strings;
}

std::string StringAt(const Json& value, std::initializer_list<std::string_view> path) {
  const Json* at = Find(value, path);
  return at != nullptr && at->is_string() ? at->get_ref<const std::string&>() : std::string();
}

int64_t IntAt(const Json& value, std::initializer_list<std::string_view> path, int64_t fallback) {
  const Json* at = Find(value, path);
  if (at == nullptr) return fallback;
  if (at->is_number_unsigned()) {
    const uint64_t number = at->get<uint64_t>();
    return number > static_cast<uint64_t>(INT64_MAX) ? fallback : static_cast<int64_t>(number);
  }
  if (at->is_number_integer()) return at->get<int64_t>();
  if (at->is_number_float()) {
    const double number = at->get<double>();
    if (number > -9e15 && number < 9e15 &&
        number == static_cast<double>(static_cast<int64_t>(number)))
      return static_cast<int64_t>(number);
  }
  return fallback;
}

bool BoolAt(const Json& value, std::initializer_list<std::string_view> path, bool fallback) {
  const Json* at = Find(value, path);
  return at != nullptr && at->is_boolean() ? at->get<bool>() : fallback;
}

}  // namespace isthmus::kubeapi
