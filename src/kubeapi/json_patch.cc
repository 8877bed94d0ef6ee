#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "kubeapi/patch.h"

namespace isthmus::kubeapi {
namespace {

using base::Code;

/// The steps of an RFC 6901 pointer.
base::Result<std::vector<std::string>> ParsePointer(std::string_view text) {
  std::vector<std::string> steps;
  if (text.empty()) return steps;
  if (text[0] != '/')
    return base::Error(Code::kInvalidArgument, "path \"{}\" must begin with \"/\"", text);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '/') {
      steps.emplace_back();
    } else if (text[i] == '~') {
      const char mark = i + 1 < text.size() ? text[i + 1] : '\0';
      if (mark != '0' && mark != '1')
        return base::Error(Code::kInvalidArgument, "path \"{}\": \"~\" must be followed by 0 or 1",
                           text);
      steps.back() += mark == '0' ? '~' : '/';
      ++i;
    } else {
      steps.back() += text[i];
    }
  }
  return steps;
}

std::string EscapePointer(std::string_view step) {
  std::string out;
  for (const char c : step) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

/// A list position without leading zeros, at most `limit`.
bool ParseIndex(const std::string& text, size_t limit, size_t& index) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  return error == std::errc() && end == text.data() + text.size() && index <= limit;
}

/// Walks to the value that holds the last step. Null when a step is absent.
Json* Parent(Json& root, const std::vector<std::string>& steps) {
  Json* at = &root;
  for (size_t i = 0; i + 1 < steps.size(); ++i) {
    if (at->is_object()) {
      const auto it = at->find(steps[i]);
      if (it == at->end()) return nullptr;
      at = &*it;
    } else if (size_t index = 0;
               at->is_array() && ParseIndex(steps[i], at->size(), index) && index < at->size()) {
      at = &(*at)[index];
    } else {
      return nullptr;
    }
  }
  return at;
}

Json* Lookup(Json& root, const std::vector<std::string>& steps) {
  if (steps.empty()) return &root;
  Json* parent = Parent(root, steps);
  if (parent == nullptr) return nullptr;
  if (parent->is_object()) {
    const auto it = parent->find(steps.back());
    return it == parent->end() ? nullptr : &*it;
  }
  size_t index = 0;
  if (!parent->is_array() || !ParseIndex(steps.back(), parent->size(), index) ||
      index == parent->size())
    return nullptr;
  return &(*parent)[index];
}

base::Status Missing(std::string_view path) {
  return base::Error(Code::kInvalidArgument, "path \"{}\" does not exist", path);
}

base::Status Add(Json& root, const std::vector<std::string>& steps, std::string_view path,
                 Json value) {
  if (steps.empty()) {
    root = std::move(value);
    return {};
  }
  Json* parent = Parent(root, steps);
  if (parent == nullptr) return Missing(path);
  if (parent->is_object()) {
    (*parent)[steps.back()] = std::move(value);
    return {};
  }
  if (!parent->is_array()) return Missing(path);
  size_t index = parent->size();
  if (steps.back() != "-" && !ParseIndex(steps.back(), parent->size(), index))
    return base::Error(Code::kInvalidArgument, "path \"{}\": no such list position", path);
  parent->insert(parent->begin() + static_cast<std::ptrdiff_t>(index), std::move(value));
  return {};
}

base::Status Remove(Json& root, const std::vector<std::string>& steps, std::string_view path) {
  if (Lookup(root, steps) == nullptr) return Missing(path);
  if (steps.empty()) {
    root = nullptr;
    return {};
  }
  Json* parent = Parent(root, steps);
  if (parent->is_object()) {
    parent->erase(steps.back());
  } else {
    size_t index = 0;
    ParseIndex(steps.back(), parent->size(), index);
    parent->erase(parent->begin() + static_cast<std::ptrdiff_t>(index));
  }
  return {};
}

base::Status Apply(Json& root, const Json& operation) {
  const std::string op = StringAt(operation, {"op"});
  const Json* path_value = Find(operation, {"path"});
  if (path_value == nullptr || !path_value->is_string())
    return base::Error(Code::kInvalidArgument, "\"path\" is missing");
  const std::string path = path_value->get<std::string>();
  ASSIGN_OR_RETURN(const std::vector<std::string> steps, ParsePointer(path), op);
  const Json* value = Find(operation, {"value"});
  if ((op == "add" || op == "replace" || op == "test") && value == nullptr)
    return base::Error(Code::kInvalidArgument, "\"{}\" needs a \"value\"", op);
  if (op == "add") return Add(root, steps, path, *value);
  if (op == "remove") return Remove(root, steps, path);
  if (op == "replace") {
    Json* at = Lookup(root, steps);
    if (at == nullptr) return Missing(path);
    *at = *value;
    return {};
  }
  if (op == "test") {
    const Json* at = Lookup(root, steps);
    const bool same = at == nullptr ? value->is_null() : *at == *value;
    if (!same) return base::Error(Code::kInvalidArgument, "test of \"{}\" failed", path);
    return {};
  }
  if (op == "move" || op == "copy") {
    const std::string from = StringAt(operation, {"from"});
    ASSIGN_OR_RETURN(const std::vector<std::string> source, ParsePointer(from), op);
    const Json* at = Lookup(root, source);
    if (at == nullptr) return Missing(from);
    if (op == "move" && path.starts_with(from + "/"))
      return base::Error(Code::kInvalidArgument, "cannot move \"{}\" into itself", from);
    Json moved = *at;
    if (op == "move") RETURN_IF_ERROR(Remove(root, source, from), op);
    return Add(root, steps, path, std::move(moved));
  }
  return base::Error(Code::kInvalidArgument, "unknown operation \"{}\"", op);
}

void Diff(const Json& from, const Json& to, const std::string& path, Json& patch) {
  if (from == to) return;
  if (from.is_object() && to.is_object()) {
    for (const auto& [key, value] : from.items())
      if (!to.contains(key))
        patch.push_back({{"op", "remove"}, {"path", path + "/" + EscapePointer(key)}});
    for (const auto& [key, value] : to.items()) {
      const std::string at = path + "/" + EscapePointer(key);
      if (const auto it = from.find(key); it != from.end())
        Diff(*it, value, at, patch);
      else
        patch.push_back({{"op", "add"}, {"path", at}, {"value", value}});
    }
    return;
  }
  if (from.is_array() && to.is_array()) {
    const size_t shared = std::min(from.size(), to.size());
    for (size_t i = 0; i < shared; ++i) Diff(from[i], to[i], fmt::format("{}/{}", path, i), patch);
    for (size_t i = from.size(); i > shared; --i)
      patch.push_back({{"op", "remove"}, {"path", fmt::format("{}/{}", path, i - 1)}});
    for (size_t i = shared; i < to.size(); ++i)
      patch.push_back({{"op", "add"}, {"path", path + "/-"}, {"value", to[i]}});
    return;
  }
  patch.push_back({{"op", "replace"}, {"path", path}, {"value", to}});
}

}  // namespace

base::Result<Json> ApplyJsonPatch(const Json& target, const Json& patch) {
  if (!patch.is_array()) return base::Error(Code::kInvalidArgument, "a JSON patch must be a list");
  Json result = target;
  for (size_t i = 0; i < patch.size(); ++i)
    RETURN_IF_ERROR(Apply(result, patch[i]), fmt::format("JSON patch operation {}", i));
  return result;
}

Json DiffJsonPatch(const Json& from, const Json& to) {
  Json patch = Json::array();
  Diff(from, to, "", patch);
  return patch;
}

Json ApplyMergePatch(Json target, const Json& patch) {
  if (!patch.is_object()) return patch;
  if (!target.is_object()) target = Json::object();
  for (const auto& [key, value] : patch.items()) {
    if (value.is_null())
      target.erase(key);
    else if (value.is_object())
      target[key] = ApplyMergePatch(std::move(target[key]), value);
    else
      target[key] = value;
  }
  return target;
}

Json DiffMergePatch(const Json& from, const Json& to) {
  if (!from.is_object() || !to.is_object()) return to;
  Json patch = Json::object();
  for (const auto& [key, value] : from.items())
    if (!to.contains(key)) patch[key] = nullptr;
  for (const auto& [key, value] : to.items()) {
    const auto it = from.find(key);
    if (it == from.end())
      patch[key] = value;
    else if (*it != value)
      patch[key] = DiffMergePatch(*it, value);
  }
  return patch;
}

}  // namespace isthmus::kubeapi
