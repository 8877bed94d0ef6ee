#include "lab/apiserver/types.h"

#include <algorithm>

namespace isthmus::lab::apiserver {
namespace {

const char kTypes[] =
#include "lab/apiserver/builtin_types.txt"
    ;
const char kDefaults[] =
#include "lab/apiserver/builtin_defaults.txt"
    ;

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

Type::Kind ScalarKind(char code) {
  switch (code) {
    case 's':
      return Type::Kind::kString;
    case 'y':
      return Type::Kind::kBytes;
    case 't':
      return Type::Kind::kTime;
    case 'i':
      return Type::Kind::kInteger;
    case 'n':
      return Type::Kind::kNumber;
    case 'b':
      return Type::Kind::kBoolean;
    case 'q':
      return Type::Kind::kQuantity;
    case 'x':
      return Type::Kind::kIntOrString;
    default:
      return Type::Kind::kAny;
  }
}

}  // namespace

const Field* Type::FindField(std::string_view field) const {
  auto it = std::lower_bound(fields.begin(), fields.end(), field,
                             [](const Field& a, std::string_view b) { return a.name < b; });
  return it != fields.end() && it->name == field ? &*it : nullptr;
}

const BuiltinTypes& BuiltinTypes::Get() {
  static const BuiltinTypes types;
  return types;
}

const Type* BuiltinTypes::Find(std::string_view name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

Type* BuiltinTypes::Named(std::string_view name) {
  auto it = by_name_.find(name);
  if (it != by_name_.end()) return it->second;
  Type& type = types_.emplace_back();
  type.kind = Type::Kind::kObject;
  type.name = std::string(name);
  by_name_.emplace(type.name, &type);
  return &type;
}

const Type* BuiltinTypes::Code(std::string_view code, const std::vector<std::string_view>& marks) {
  if (code[0] == '@') {
    Type* named = Named(code.substr(1));
    for (std::string_view mark : marks)
      if (mark == "rk") named->retain_keys = true;
    return named;
  }
  Type& type = types_.emplace_back();
  if (code[0] == '[' || code[0] == '{') {
    type.kind = code[0] == '[' ? Type::Kind::kList : Type::Kind::kMap;
    type.element = Code(code.substr(1), {});
  } else {
    type.kind = ScalarKind(code[0]);
  }
  for (std::string_view mark : marks) {
    if (mark == "set") type.list_type = Type::ListType::kSet;
    if (mark == "pm") type.merge_scalars = true;
    if (mark == "at") type.atomic = true;
    if (mark.starts_with("mk=")) type.merge_key = std::string(mark.substr(3));
    if (mark.starts_with("k=")) {
      type.list_type = Type::ListType::kMap;
      for (std::string_view key : Split(mark.substr(2), ',')) type.map_keys.emplace_back(key);
    }
  }
  return &type;
}

BuiltinTypes::BuiltinTypes() {
  Type* current = nullptr;
  for (std::string_view line : Split(kTypes, '\n')) {
    std::vector<std::string_view> words = Split(line, ' ');
    if (words.empty()) continue;
    if (line[0] != ' ') {
      current = Named(words[0]);
      current->atomic = words.size() > 1 && words[1] == "at";
      continue;
    }
    Field& field = current->fields.emplace_back();
    field.required = words[0].back() == '!';
    if (field.required) words[0].remove_suffix(1);
    field.name = std::string(words[0]);
    field.type = Code(words[1], {words.begin() + 2, words.end()});
  }
  for (auto& [name, type] : by_name_)
    std::sort(type->fields.begin(), type->fields.end(),
              [](const Field& a, const Field& b) { return a.name < b.name; });
  // "core.v1.Container terminationMessagePath "/dev/termination-log"": type, field, JSON.
  for (std::string_view line : Split(kDefaults, '\n')) {
    const size_t one = line.find(' ');
    if (one == std::string_view::npos) continue;
    const size_t two = line.find(' ', one + 1);
    auto type = by_name_.find(line.substr(0, one));
    if (type == by_name_.end()) continue;
    const std::string_view name = line.substr(one + 1, two - one - 1);
    for (Field& field : type->second->fields)
      if (field.name == name)
        field.fallback = std::make_unique<Json>(Json::parse(line.substr(two + 1), nullptr, false));
  }
}

CustomSchema::CustomSchema(const Json* schema) {
  static const Json kAnything = {{"type", "object"},
                                 {"x-kubernetes-preserve-unknown-fields", true}};
  root_ = Compile(schema && schema->is_object() ? *schema : kAnything, true);
}

const Type* CustomSchema::Compile(const Json& node, bool root) {
  Type& type = types_.emplace_back();
  type.custom = true;
  type.nullable = kubeapi::BoolAt(node, {"nullable"});
  type.preserve_unknown = kubeapi::BoolAt(node, {"x-kubernetes-preserve-unknown-fields"});
  type.embedded_resource = kubeapi::BoolAt(node, {"x-kubernetes-embedded-resource"});
  type.atomic = kubeapi::StringAt(node, {"x-kubernetes-map-type"}) == "atomic";
  const std::string kind = kubeapi::StringAt(node, {"type"});
  const Json* properties = kubeapi::Find(node, {"properties"});
  const Json* additional = kubeapi::Find(node, {"additionalProperties"});
  const Json* items = kubeapi::Find(node, {"items"});
  if (kubeapi::BoolAt(node, {"x-kubernetes-int-or-string"})) {
    type.kind = Type::Kind::kIntOrString;
  } else if (kind == "array") {
    type.kind = Type::Kind::kList;
    type.element = Compile(items && items->is_object() ? *items : Json::object(), false);
    const std::string list = kubeapi::StringAt(node, {"x-kubernetes-list-type"});
    if (list == "set") type.list_type = Type::ListType::kSet;
    if (list == "map") type.list_type = Type::ListType::kMap;
    if (const Json* keys = kubeapi::Find(node, {"x-kubernetes-list-map-keys"});
        keys && keys->is_array())
      for (const Json& key : *keys)
        if (key.is_string()) type.map_keys.push_back(key);
  } else if (kind == "object" || properties || additional) {
    if (additional && !properties) {
      type.kind = Type::Kind::kMap;
      type.element = Compile(additional->is_object() ? *additional : Json::object(), false);
      if (additional->is_boolean()) const_cast<Type*>(type.element)->preserve_unknown = true;
    } else {
      type.kind = Type::Kind::kObject;
      if (properties && properties->is_object()) {
        for (const auto& [name, child] : properties->items()) {
          Field& field = type.fields.emplace_back();
          field.name = name;
          field.type = Compile(child, false);
          if (const Json* fallback = kubeapi::Find(child, {"default"}))
            field.fallback = std::make_unique<Json>(*fallback);
        }
      }
      if (const Json* required = kubeapi::Find(node, {"required"});
          required && required->is_array())
        for (const Json& name : *required)
          for (Field& field : type.fields)
            if (name == field.name) field.required = true;
    }
  } else if (kind == "string") {
    type.kind = Type::Kind::kString;
  } else if (kind == "integer") {
    type.kind = Type::Kind::kInteger;
  } else if (kind == "number") {
    type.kind = Type::Kind::kNumber;
  } else if (kind == "boolean") {
    type.kind = Type::Kind::kBoolean;
  } else {
    type.kind = Type::Kind::kAny;
  }
  if ((root || type.embedded_resource) && type.kind == Type::Kind::kObject) {
    const BuiltinTypes& builtin = BuiltinTypes::Get();
    static const Type kText = [] {
      Type t;
      t.kind = Type::Kind::kString;
      return t;
    }();
    for (const char* name : {"apiVersion", "kind", "metadata"}) {
      std::erase_if(type.fields, [&](const Field& field) { return field.name == name; });
      Field& field = type.fields.emplace_back();
      field.name = name;
      field.type = field.name == "metadata" ? builtin.Find("meta.v1.ObjectMeta") : &kText;
    }
    std::sort(type.fields.begin(), type.fields.end(),
              [](const Field& a, const Field& b) { return a.name < b.name; });
  }
  // Only what Conform() looks at is kept: Istio's schemas are large and mostly prose.
  Json rules = Json::object();
  for (const char* key :
       {"enum", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
        "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "oneOf",
        "anyOf", "allOf", "not", "multipleOf", "uniqueItems"})
    if (auto it = node.find(key); it != node.end()) rules[key] = *it;
  if (!rules.empty()) type.rules = std::make_unique<Json>(std::move(rules));
  return &type;
}

}  // namespace isthmus::lab::apiserver
