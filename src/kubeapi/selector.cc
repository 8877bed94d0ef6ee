#include "kubeapi/selector.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace isthmus::kubeapi {
namespace {

using Op = LabelSelector::Op;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

bool IsWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.' || c == '/';
}

bool ToNumber(std::string_view text, int64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

/// Reads the selector grammar from left to right.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool AtEnd() {
    SkipSpace();
    return at_ == text_.size();
  }
  bool Take(std::string_view token) {
    SkipSpace();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  std::string Word() {
    SkipSpace();
    const size_t start = at_;
    while (at_ < text_.size() && IsWordChar(text_[at_])) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }
  base::Status Fail(std::string_view why) const {
    return base::Error(base::Code::kInvalidArgument, "label selector \"{}\": {} at character {}",
                       text_, why, at_ + 1);
  }

 private:
  void SkipSpace() {
    while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
  }

  std::string_view text_;
  size_t at_ = 0;
};

base::Result<std::vector<std::string>> ReadValues(Reader& reader) {
  if (!reader.Take("(")) return reader.Fail("expected \"(\"");
  std::vector<std::string> values;
  do {
    values.push_back(reader.Word());
  } while (reader.Take(","));
  if (!reader.Take(")")) return reader.Fail("expected \",\" or \")\"");
  std::sort(values.begin(), values.end());
  return values;
}

base::Result<LabelSelector::Requirement> ReadRequirement(Reader& reader) {
  LabelSelector::Requirement requirement;
  const bool negated = reader.Take("!");
  requirement.key = reader.Word();
  if (requirement.key.empty()) return reader.Fail("expected a label name");
  if (negated) {
    requirement.op = Op::kDoesNotExist;
    return requirement;
  }
  if (reader.Take("!=")) {
    requirement.op = Op::kNotIn;
    requirement.values = {reader.Word()};
  } else if (reader.Take("==") || reader.Take("=")) {
    requirement.op = Op::kIn;
    requirement.values = {reader.Word()};
  } else if (const bool greater = reader.Take(">"); greater || reader.Take("<")) {
    requirement.op = greater ? Op::kGreater : Op::kLess;
    requirement.values = {reader.Word()};
    if (int64_t number = 0; !ToNumber(requirement.values[0], number))
      return reader.Fail("expected a number");
  } else if (reader.Take("notin")) {
    requirement.op = Op::kNotIn;
    ASSIGN_OR_RETURN(requirement.values, ReadValues(reader), "notin");
  } else if (reader.Take("in")) {
    requirement.op = Op::kIn;
    ASSIGN_OR_RETURN(requirement.values, ReadValues(reader), "in");
  }
  return requirement;
}

std::string ValueText(const Json* value) {
  if (value == nullptr || value->is_null()) return "";
  return value->is_string() ? value->get<std::string>() : ToJson(*value);
}

const Json* FindDotted(const Json& object, std::string_view path) {
  const Json* at = &object;
  while (true) {
    const size_t dot = path.find('.');
    at = Find(*at, {path.substr(0, dot)});
    if (at == nullptr || dot == path.npos) return at;
    path.remove_prefix(dot + 1);
  }
}

}  // namespace

base::Result<LabelSelector> LabelSelector::Parse(std::string_view text) {
  LabelSelector selector;
  Reader reader(text);
  if (reader.AtEnd()) return selector;
  do {
    ASSIGN_OR_RETURN(Requirement requirement, ReadRequirement(reader), "reading selector");
    selector.requirements_.push_back(std::move(requirement));
  } while (reader.Take(","));
  if (!reader.AtEnd()) return reader.Fail("unexpected text");
  return selector;
}

base::Result<LabelSelector> LabelSelector::FromObject(const Json& object) {
  if (!object.is_object())
    return base::Error(base::Code::kInvalidArgument, "a label selector must be an object");
  LabelSelector selector;
  if (const Json* labels = Find(object, {"matchLabels"}); labels != nullptr && !labels->is_null()) {
    if (!labels->is_object())
      return base::Error(base::Code::kInvalidArgument, "matchLabels must be an object");
    selector = FromLabels(*labels);
  }
  for (const Json& expression : ItemsAt(object, {"matchExpressions"})) {
    Requirement requirement{StringAt(expression, {"key"}), Op::kExists, {}};
    for (const Json& value : ItemsAt(expression, {"values"}))
      requirement.values.push_back(ValueText(&value));
    std::sort(requirement.values.begin(), requirement.values.end());
    const std::string op = StringAt(expression, {"operator"});
    if (op == "In")
      requirement.op = Op::kIn;
    else if (op == "NotIn")
      requirement.op = Op::kNotIn;
    else if (op == "Exists")
      requirement.op = Op::kExists;
    else if (op == "DoesNotExist")
      requirement.op = Op::kDoesNotExist;
    else
      return base::Error(
          base::Code::kInvalidArgument,
          "matchExpressions: operator \"{}\" is none of In, NotIn, Exists, DoesNotExist", op);
    const bool needs_values = op == "In" || op == "NotIn";
    if (requirement.key.empty() || needs_values == requirement.values.empty())
      return base::Error(base::Code::kInvalidArgument,
                         "matchExpressions: {} needs a key and {} values", op,
                         needs_values ? "some" : "no");
    selector.requirements_.push_back(std::move(requirement));
  }
  return selector;
}

LabelSelector LabelSelector::FromLabels(const Json& labels) {
  LabelSelector selector;
  if (labels.is_object())
    for (const auto& [key, value] : labels.items())
      selector.requirements_.push_back({key, Op::kIn, {ValueText(&value)}});
  return selector;
}

bool LabelSelector::Matches(const Json& labels) const {
  return std::all_of(
      requirements_.begin(), requirements_.end(), [&labels](const Requirement& requirement) {
        const Json* found = Find(labels, {requirement.key});
        const auto has = [&] {
          return std::find(requirement.values.begin(), requirement.values.end(),
                           ValueText(found)) != requirement.values.end();
        };
        int64_t left = 0, right = 0;
        switch (requirement.op) {
          case Op::kExists:
            return found != nullptr;
          case Op::kDoesNotExist:
            return found == nullptr;
          case Op::kIn:
            return found != nullptr && has();
          case Op::kNotIn:
            return found == nullptr || !has();
          case Op::kGreater:
          case Op::kLess:
            if (found == nullptr || requirement.values.empty() ||
                !ToNumber(ValueText(found), left) || !ToNumber(requirement.values[0], right))
              return false;
            return requirement.op == Op::kGreater ? left > right : left < right;
        }
        return false;
      });
}

bool LabelSelector::MatchesObject(const Json& object) const {
  static const Json kNone = nullptr;
  const Json* labels = Find(object, {"metadata", "labels"});
  return Matches(labels != nullptr ? *labels : kNone);
}

std::string LabelSelector::ToString() const {
  std::vector<std::string> parts;
  for (const Requirement& requirement : requirements_) {
    const std::string& key = requirement.key;
    const std::string first = requirement.values.empty() ? "" : requirement.values[0];
    switch (requirement.op) {
      case Op::kExists:
        parts.push_back(key);
        break;
      case Op::kDoesNotExist:
        parts.push_back("!" + key);
        break;
      case Op::kGreater:
        parts.push_back(key + ">" + first);
        break;
      case Op::kLess:
        parts.push_back(key + "<" + first);
        break;
      case Op::kIn:
        parts.push_back(requirement.values.size() == 1
                            ? key + "=" + first
                            : fmt::format("{} in ({})", key, fmt::join(requirement.values, ",")));
        break;
      case Op::kNotIn:
        parts.push_back(
            requirement.values.size() == 1
                ? key + "!=" + first
                : fmt::format("{} notin ({})", key, fmt::join(requirement.values, ",")));
        break;
    }
  }
  return fmt::format("{}", fmt::join(parts, ","));
}

base::Result<FieldSelector> FieldSelector::Parse(std::string_view text) {
  FieldSelector selector;
  while (!Trim(text).empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = Trim(text.substr(0, comma));
    text.remove_prefix(comma == text.npos ? text.size() : comma + 1);
    if (part.empty()) continue;
    const size_t equals = part.find('=');
    if (equals == part.npos || equals == 0)
      return base::Error(base::Code::kInvalidArgument,
                         "field selector \"{}\": expected field=value", part);
    Requirement requirement;
    requirement.equal = part[equals - 1] != '!';
    requirement.path = Trim(part.substr(0, requirement.equal ? equals : equals - 1));
    std::string_view value = part.substr(equals + 1);
    if (requirement.equal && value.starts_with('=')) value.remove_prefix(1);
    requirement.value = Trim(value);
    selector.requirements_.push_back(std::move(requirement));
  }
  return selector;
}

bool FieldSelector::Matches(const Json& object) const {
  return std::all_of(
      requirements_.begin(), requirements_.end(), [&object](const Requirement& requirement) {
        return (ValueText(FindDotted(object, requirement.path)) == requirement.value) ==
               requirement.equal;
      });
}

const std::string* FieldSelector::Exact(std::string_view path) const {
  for (const Requirement& requirement : requirements_)
    if (requirement.equal && requirement.path == path) return &requirement.value;
  return nullptr;
}

}  // namespace isthmus::kubeapi
