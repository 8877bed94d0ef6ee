#include "install/tree.h"

#include <charconv>
#include <cstdlib>

namespace isthmus::install {
namespace {

/// One step of a --set path: into a map by `key`, or into a list by `index`, or by an element whose
/// `key` is `match`.
struct Step {
  enum class Kind { kKey, kIndex, kMatch } kind = Kind::kKey;
  std::string key;
  std::string match;
  size_t index = 0;
};

base::Result<Step> ParseBracket(std::string_view inside, std::string_view flag) {
  Step step;
  size_t colon = inside.find(':');
  if (colon != std::string_view::npos) {
    step.kind = Step::Kind::kMatch;
    step.key = inside.substr(0, colon);
    step.match = inside.substr(colon + 1);
    return step;
  }
  step.kind = Step::Kind::kIndex;
  auto [end, error] = std::from_chars(inside.data(), inside.data() + inside.size(), step.index);
  if (error != std::errc() || end != inside.data() + inside.size())
    return base::Error(base::Code::kInvalidArgument,
                       "--set {}: [{}] is neither an index nor key:value", flag, inside);
  return step;
}

base::Result<std::vector<Step>> ParsePath(std::string_view path, std::string_view flag) {
  std::vector<Step> steps;
  std::string key;
  auto flush = [&] {
    if (!key.empty()) steps.push_back(Step{Step::Kind::kKey, key, "", 0});
    key.clear();
  };
  for (size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '\\' && i + 1 < path.size() && path[i + 1] == '.') {
      key += path[++i];
    } else if (c == '.') {
      flush();
    } else if (c == '[') {
      flush();
      size_t end = path.find(']', i);
      if (end == std::string_view::npos)
        return base::Error(base::Code::kInvalidArgument, "--set {}: '[' without ']'", flag);
      ASSIGN_OR_RETURN(Step step, ParseBracket(path.substr(i + 1, end - i - 1), flag),
                       "reading the path");
      steps.push_back(step);
      i = end;
    } else {
      key += c;
    }
  }
  flush();
  if (steps.empty())
    return base::Error(base::Code::kInvalidArgument, "--set {}: the path is empty", flag);
  return steps;
}

bool AlwaysText(std::string_view path) {
  if (path == "tag" || path == "values.global.tag" || path == "compatibilityVersion" ||
      path == "values.compatibilityVersion")
    return true;
  return path.starts_with("meshConfig.defaultConfig.proxyMetadata.") ||
         path.starts_with("values.meshConfig.defaultConfig.proxyMetadata.");
}

Json ParseValue(std::string_view path, std::string text) {
  for (size_t at = 0; (at = text.find("\\,", at)) != std::string::npos; ++at) text.erase(at, 1);
  if (AlwaysText(path)) return text;
  if (text == "true" || text == "True" || text == "TRUE" || text == "T") return true;
  if (text == "false" || text == "False" || text == "FALSE" || text == "F") return false;
  int64_t whole = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error == std::errc() && end == text.data() + text.size() && !text.empty()) return whole;
  char* rest = nullptr;
  double real = std::strtod(text.c_str(), &rest);
  if (!text.empty() && *rest == 0 && text.find_first_of("0123456789") != std::string::npos)
    return real;
  return text;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

void Overlay(Json& under, const Json& over) {
  if (!under.is_object() || !over.is_object()) {
    under = over;
    return;
  }
  for (const auto& [key, value] : over.items()) {
    if (value.is_null()) {
      under.erase(key);
    } else {
      Overlay(under[key], value);
    }
  }
}

base::Status ApplySet(Json& tree, std::string_view flag) {
  size_t equals = flag.find('=');
  if (equals == std::string_view::npos)
    return base::Error(base::Code::kInvalidArgument, "--set {}: it is not of the form path=value",
                       flag);
  std::string_view path = Trimmed(flag.substr(0, equals));
  ASSIGN_OR_RETURN(std::vector<Step> steps, ParsePath(path, flag), "reading flags");
  Json* place = &tree;
  for (const Step& step : steps) {
    if (step.kind == Step::Kind::kKey) {
      if (!place->is_object()) *place = Json::object();
      place = &(*place)[step.key];
      continue;
    }
    if (!place->is_array()) *place = Json::array();
    if (step.kind == Step::Kind::kIndex) {
      if (step.index >= place->size()) {
        place->push_back(nullptr);
        place = &place->back();
      } else {
        place = &(*place)[step.index];
      }
      continue;
    }
    Json* found = nullptr;
    for (Json& element : *place)
      if (kubeapi::StringAt(element, {step.key}) == step.match) found = &element;
    if (found == nullptr)
      return base::Error(base::Code::kNotFound, "--set {}: the list has no element with {}: {}",
                         flag, step.key, step.match);
    place = found;
  }
  *place = ParseValue(path, std::string(Trimmed(flag.substr(equals + 1))));
  return {};
}

void FindUnknownKeys(const Json& value, const Json& known, const std::string& path,
                     std::vector<std::string>& unknown) {
  if (!value.is_object() || !known.is_object() || known.empty()) return;
  for (const auto& [key, inner] : value.items()) {
    std::string where = path.empty() ? key : path + "." + key;
    auto place = known.find(key);
    if (place == known.end()) {
      unknown.push_back(where);
    } else {
      FindUnknownKeys(inner, *place, where, unknown);
    }
  }
}

}  // namespace isthmus::install
