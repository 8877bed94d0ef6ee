#include "lab/apiserver/json_path.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::Json;

/// Reads a key up to the next '.' or '['; a backslash takes the next character as it is.
std::string TakeKey(std::string_view* path) {
  std::string key;
  while (!path->empty() && path->front() != '.' && path->front() != '[') {
    if (path->front() == '\\' && path->size() > 1) path->remove_prefix(1);
    key += path->front();
    path->remove_prefix(1);
  }
  return key;
}

std::string_view Unquoted(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
      text.back() == text.front())
    text = text.substr(1, text.size() - 2);
  return text;
}

std::vector<const Json*> Filtered(const std::vector<const Json*>& values, std::string_view inside) {
  std::vector<const Json*> out;
  if (inside == "*") {
    for (const Json* value : values)
      for (const Json& item : *value) out.push_back(&item);
  } else if (inside.starts_with("?(") && inside.ends_with(")")) {
    const std::string_view test = inside.substr(2, inside.size() - 3);
    size_t at = test.find("==");
    const bool equal = at != test.npos;
    if (!equal) at = test.find("!=");
    if (at == test.npos || test.empty() || test[0] != '@') return out;
    const std::string_view path = Unquoted(test.substr(1, at - 1));
    const std::string_view want = Unquoted(test.substr(at + 2));
    for (const Json* value : values) {
      if (!value->is_array()) continue;
      for (const Json& item : *value) {
        const auto found = EvaluatePath(item, path);
        const bool same = !found.empty() && PlainText(*found[0]) == want;
        if (same == equal) out.push_back(&item);
      }
    }
  } else if (inside.size() > 1 && (inside[0] == '\'' || inside[0] == '"')) {
    for (const Json* value : values)
      if (value->is_object())
        if (auto it = value->find(std::string(Unquoted(inside))); it != value->end())
          out.push_back(&*it);
  } else {
    char* end = nullptr;
    const std::string digits(inside);
    const long index = std::strtol(digits.c_str(), &end, 10);
    if (digits.empty() || *end != 0) return out;
    for (const Json* value : values) {
      if (!value->is_array()) continue;
      const long at = index < 0 ? static_cast<long>(value->size()) + index : index;
      if (at >= 0 && at < static_cast<long>(value->size())) out.push_back(&(*value)[at]);
    }
  }
  return out;
}

}  // namespace

std::vector<const Json*> EvaluatePath(const Json& value, std::string_view path) {
  std::vector<const Json*> values = {&value};
  if (path.starts_with("{") && path.ends_with("}")) path = path.substr(1, path.size() - 2);
  if (path.starts_with("$")) path.remove_prefix(1);
  while (!path.empty() && !values.empty()) {
    if (path[0] == '.') {
      path.remove_prefix(1);
      continue;
    }
    std::vector<const Json*> next;
    if (path[0] == '[') {
      // A quoted text inside a filter may hold a bracket.
      size_t end = 1;
      char quote = 0;
      while (end < path.size() && (quote || path[end] != ']')) {
        if (quote ? path[end] == quote : (path[end] == '"' || path[end] == '\''))
          quote = quote ? 0 : path[end];
        ++end;
      }
      if (end >= path.size()) return {};
      next = Filtered(values, path.substr(1, end - 1));
      path.remove_prefix(end + 1);
    } else {
      const std::string key = TakeKey(&path);
      for (const Json* each : values)
        if (each->is_object())
          if (auto it = each->find(key); it != each->end()) next.push_back(&*it);
    }
    values = std::move(next);
  }
  return values;
}

std::string PlainText(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump();
}

}  // namespace isthmus::lab::apiserver
