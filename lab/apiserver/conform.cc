#include <regex.h>

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "lab/apiserver/types.h"

namespace isthmus::lab::apiserver {
namespace {

using TypeKind = Type::Kind;

std::string Child(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : path + "." + std::string(name);
}

const char* WordFor(const Json& value) {
  switch (value.type()) {
    case Json::value_t::object:
      return "object";
    case Json::value_t::array:
      return "array";
    case Json::value_t::string:
      return "string";
    case Json::value_t::boolean:
      return "boolean";
    case Json::value_t::null:
      return "null";
    case Json::value_t::number_float:
      return "number";
    default:
      return "integer";
  }
}

const char* WordFor(TypeKind kind) {
  switch (kind) {
    case TypeKind::kList:
      return "array";
    case TypeKind::kMap:
    case TypeKind::kObject:
      return "object";
    case TypeKind::kInteger:
      return "integer";
    case TypeKind::kNumber:
      return "number";
    case TypeKind::kBoolean:
      return "boolean";
    default:
      return "string";
  }
}

bool Fits(TypeKind kind, const Json& value) {
  switch (kind) {
    case TypeKind::kAny:
      return true;
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kTime:
      return value.is_string();
    case TypeKind::kInteger:
      return value.is_number_integer() ||
             (value.is_number_float() &&
              std::nearbyint(value.get<double>()) == value.get<double>());
    case TypeKind::kNumber:
      return value.is_number();
    case TypeKind::kBoolean:
      return value.is_boolean();
    case TypeKind::kQuantity:
      return value.is_string() || value.is_number();
    case TypeKind::kIntOrString:
      return value.is_string() || value.is_number_integer();
    case TypeKind::kList:
      return value.is_array();
    case TypeKind::kMap:
    case TypeKind::kObject:
      return value.is_object();
  }
  return false;
}

/// Number of code points, which is what minLength and maxLength count.
size_t TextLength(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

/// ECMA patterns of schemas, as far as POSIX can say them; one that cannot be compiled checks
/// nothing.
bool MatchesPattern(const std::string& pattern, const std::string& text) {
  std::string posix;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern.compare(i, 3, "(?:") == 0) {
      posix += '(';
      i += 2;
    } else if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      posix += next == 'd'   ? std::string("[0-9]")
               : next == 'w' ? "[A-Za-z0-9_]"
               : next == 's' ? "[ \t\r\n]"
                             : std::string("\\") + next;
    } else {
      posix += pattern[i];
    }
  }
  regex_t compiled;
  if (regcomp(&compiled, posix.c_str(), REG_EXTENDED | REG_NOSUB) != 0) return true;
  const bool matches = regexec(&compiled, text.c_str(), 0, nullptr, 0) == 0;
  regfree(&compiled);
  return matches;
}

class Walker {
 public:
  explicit Walker(Findings* findings) : findings_(findings) {}

  void Walk(const Type& type, Json* value, const std::string& path) {
    if (++depth_ > 100) {
      --depth_;
      return;
    }
    Visit(type, value, path);
    --depth_;
  }

 private:
  void Invalid(std::string reason, const std::string& path, std::string message) {
    findings_->invalid.push_back({std::move(reason), path, std::move(message)});
  }

  void Visit(const Type& type, Json* value, const std::string& path) {
    if (!Fits(type.kind, *value)) {
      if (type.custom && type.nullable && value->is_null()) return;
      if (type.custom) {
        Invalid(
            "FieldValueTypeInvalid", path,
            fmt::format("Invalid value: \"{}\": {} in body must be of type {}: \"{}\"",
                        WordFor(*value), path,
                        type.kind == TypeKind::kIntOrString ? "integer,string" : WordFor(type.kind),
                        WordFor(*value)));
      } else {
        findings_->undecodable.push_back(
            fmt::format("{}: json: cannot unmarshal {} into Go struct field .{} of type {}", path,
                        value->is_number()    ? "number"
                        : value->is_boolean() ? "bool"
                                              : WordFor(*value),
                        path,
                        type.kind == TypeKind::kBoolean   ? "bool"
                        : type.kind == TypeKind::kInteger ? "int32"
                                                          : WordFor(type.kind)));
      }
      return;
    }
    if (type.custom && type.rules) Check(*type.rules, *value, path);
    switch (type.kind) {
      case TypeKind::kObject:
        Object(type, value, path);
        break;
      case TypeKind::kMap:
        for (auto it = value->begin(); it != value->end();) {
          if (it->is_null() && !type.custom) {
            it = type.element->kind == TypeKind::kString ? (*it = "", std::next(it))
                                                         : value->erase(it);
            continue;
          }
          Walk(*type.element, &*it,
               type.custom ? Child(path, it.key()) : path + "[" + it.key() + "]");
          ++it;
        }
        break;
      case TypeKind::kList:
        List(type, value, path);
        break;
      case TypeKind::kTime:
        if (!value->get_ref<const std::string&>().empty() &&
            !base::ParseTime(value->get_ref<const std::string&>()).ok())
          findings_->undecodable.push_back(
              fmt::format("{}: parsing time {} as RFC 3339 failed", path, value->dump()));
        break;
      case TypeKind::kQuantity:
        if (value->is_number()) *value = value->dump();
        break;
      default:
        break;
    }
  }

  void List(const Type& type, Json* value, const std::string& path) {
    for (size_t i = 0; i < value->size(); ++i)
      Walk(*type.element, &(*value)[i], fmt::format("{}[{}]", path, i));
    if (!type.custom || type.list_type == Type::ListType::kAtomic) return;
    std::vector<Json> seen;
    for (size_t i = 0; i < value->size(); ++i) {
      Json key = (*value)[i];
      if (type.list_type == Type::ListType::kMap && key.is_object()) {
        Json keys = Json::object();
        for (const std::string& name : type.map_keys)
          if (key.contains(name)) keys[name] = key[name];
        key = keys;
      }
      if (std::find(seen.begin(), seen.end(), key) != seen.end())
        Invalid("FieldValueDuplicate", fmt::format("{}[{}]", path, i),
                "Duplicate value: " + key.dump());
      seen.push_back(std::move(key));
    }
  }

  void Object(const Type& type, Json* value, const std::string& path) {
    for (auto it = value->begin(); it != value->end();) {
      const Field* field = type.FindField(it.key());
      if (!field) {
        if (type.preserve_unknown) {
          ++it;
          continue;
        }
        findings_->unknown.push_back(Child(path, it.key()));
        it = value->erase(it);
        continue;
      }
      // Go's decoder takes null for "absent", and does not write empty maps and lists back.
      const bool absent = !field->type->custom
                              ? it->is_null() || ((field->type->kind == TypeKind::kMap ||
                                                   field->type->kind == TypeKind::kList) &&
                                                  it->empty() && !field->required)
                              : it->is_null() && !field->type->nullable && field->fallback;
      if (absent) {
        it = value->erase(it);
        continue;
      }
      ++it;
    }
    std::vector<const Field*> missing;
    for (const Field& field : type.fields) {
      auto it = value->find(field.name);
      if (it == value->end()) {
        if (!field.fallback) {
          if (field.required && type.custom) missing.push_back(&field);
          continue;
        }
        it = value->emplace(field.name, *field.fallback).first;
      }
      Walk(*field.type, &*it, Child(path, field.name));
    }
    // Told after what is wrong with those that are there.
    for (const Field* field : missing)
      Invalid("FieldValueRequired", Child(path, field->name), "Required value");
  }

  void Check(const Json& rules, const Json& value, const std::string& path) {
    auto wrong = [&](std::string what) {
      Invalid("FieldValueInvalid", path,
              fmt::format("Invalid value: {}: {} in body {}", value.dump(), path, what));
    };
    if (const Json* allowed = kubeapi::Find(rules, {"enum"}); allowed && allowed->is_array()) {
      if (std::find(allowed->begin(), allowed->end(), value) == allowed->end()) {
        std::string names;
        for (const Json& name : *allowed)
          names += (names.empty() ? "" : ", ") +
                   (name.is_string() ? "\"" + name.get<std::string>() + "\"" : name.dump());
        Invalid("FieldValueNotSupported", path,
                fmt::format("Unsupported value: {}: supported values: {}", value.dump(), names));
      }
    }
    auto number = [&](const char* key) -> std::optional<double> {
      auto it = rules.find(key);
      return it != rules.end() && it->is_number() ? std::optional(it->get<double>()) : std::nullopt;
    };
    if (value.is_string()) {
      const std::string& text = value.get_ref<const std::string&>();
      const std::string pattern = kubeapi::StringAt(rules, {"pattern"});
      if (!pattern.empty() && !MatchesPattern(pattern, text))
        wrong(fmt::format("should match '{}'", pattern));
      if (auto n = number("minLength"); n && TextLength(text) < *n)
        wrong(fmt::format("should be at least {} chars long", *n));
      if (auto n = number("maxLength"); n && TextLength(text) > *n)
        Invalid("FieldValueTooLong", path,
                fmt::format("Too long: may not be more than {} bytes", *n));
      if (kubeapi::StringAt(rules, {"format"}) == "date-time" && !base::ParseTime(text).ok())
        wrong("must be of type date-time: " + value.dump());
    } else if (value.is_number()) {
      const double v = value.get<double>();
      if (auto n = number("minimum");
          n && (v < *n || (v == *n && kubeapi::BoolAt(rules, {"exclusiveMinimum"}))))
        wrong(fmt::format("should be greater than or equal to {}", *n));
      if (auto n = number("maximum");
          n && (v > *n || (v == *n && kubeapi::BoolAt(rules, {"exclusiveMaximum"}))))
        wrong(fmt::format("should be less than or equal to {}", *n));
    } else if (value.is_array()) {
      if (auto n = number("minItems"); n && value.size() < *n)
        wrong(fmt::format("should have at least {} items", *n));
      if (auto n = number("maxItems"); n && value.size() > *n)
        Invalid("FieldValueTooMany", path,
                fmt::format("Too many: {}: must have at most {} items", value.size(), *n));
    } else if (value.is_object()) {
      if (auto n = number("minProperties"); n && value.size() < *n)
        wrong(fmt::format("should have at least {} properties", *n));
      if (auto n = number("maxProperties"); n && value.size() > *n)
        wrong(fmt::format("should have at most {} properties", *n));
    }
    Combine(rules, value, path);
  }

  void Combine(const Json& rules, const Json& value, const std::string& path) {
    auto count = [&](const char* key) -> std::pair<size_t, size_t> {
      auto it = rules.find(key);
      if (it == rules.end() || !it->is_array()) return {0, 0};
      size_t good = 0;
      for (const Json& option : *it) good += Satisfies(option, value);
      return {good, it->size()};
    };
    if (auto [good, all] = count("oneOf"); all && good != 1)
      Invalid("FieldValueInvalid", path,
              fmt::format("Invalid value: {}: {} must validate one and only one schema (oneOf). {}",
                          value.dump(), path.empty() ? "\"\"" : path,
                          good ? "Found more than one valid alternative" : "Found none valid"));
    if (auto [good, all] = count("anyOf"); all && good == 0)
      Invalid("FieldValueInvalid", path,
              fmt::format("Invalid value: {}: {} must validate at least one schema (anyOf)",
                          value.dump(), path));
    if (auto [good, all] = count("allOf"); good != all)
      Invalid("FieldValueInvalid", path,
              fmt::format("Invalid value: {}: {} must validate all the schemas (allOf)",
                          value.dump(), path));
    if (auto it = rules.find("not"); it != rules.end() && Satisfies(*it, value))
      Invalid("FieldValueInvalid", path,
              fmt::format("Invalid value: {}: {} must not validate the schema (not)", value.dump(),
                          path));
  }

  /// Whether a value satisfies a non-structural part of a schema, as used inside oneOf, anyOf and
  /// not.
  bool Satisfies(const Json& schema, const Json& value) {
    if (!schema.is_object()) return true;
    Findings scratch;
    Walker walker(&scratch);
    const std::string type = kubeapi::StringAt(schema, {"type"});
    if (!type.empty() && type != WordFor(value) && !(type == "number" && value.is_number()))
      return false;
    walker.Check(schema, value, "");
    if (!scratch.invalid.empty()) return false;
    if (value.is_object()) {
      if (auto it = schema.find("required"); it != schema.end() && it->is_array())
        for (const Json& name : *it)
          if (name.is_string() && !value.contains(name.get_ref<const std::string&>())) return false;
      if (auto it = schema.find("properties"); it != schema.end() && it->is_object())
        for (const auto& [name, child] : it->items())
          if (auto found = value.find(name); found != value.end() && !Satisfies(child, *found))
            return false;
    }
    if (value.is_array())
      if (auto it = schema.find("items"); it != schema.end())
        for (const Json& item : value)
          if (!Satisfies(*it, item)) return false;
    return true;
  }

  Findings* findings_;
  int depth_ = 0;
};

}  // namespace

void Conform(const Type& type, Json* value, Findings* findings) {
  Walker(findings).Walk(type, value, "");
}

}  // namespace isthmus::lab::apiserver
