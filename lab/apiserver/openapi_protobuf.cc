#include "lab/apiserver/openapi_protobuf.h"

#include <string_view>

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::Find;
using kubeapi::Json;
using kubeapi::StringAt;

void PutVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void PutText(int field, std::string_view text, std::string* out) {
  PutVarint(static_cast<uint64_t>(field) << 3 | 2, out);
  PutVarint(text.size(), out);
  out->append(text);
}

/// vendor_extension: NamedAny{name=1, value=2: Any{yaml=2}}. JSON is YAML.
void PutExtensions(const Json& node, int field, std::string* out) {
  for (const auto& [key, value] : node.items()) {
    if (!key.starts_with("x-")) continue;
    std::string any, named;
    PutText(2, value.dump() + "\n", &any);
    PutText(1, key, &named);
    PutText(2, any, &named);
    PutText(field, named, out);
  }
}

std::string EncodeSchema(const Json& schema);

void PutNamedSchemas(const Json& schemas, int field, std::string* out) {
  for (const auto& [name, schema] : schemas.items()) {
    std::string named;
    PutText(1, name, &named);
    PutText(2, EncodeSchema(schema), &named);
    PutText(field, named, out);
  }
}

std::string EncodeSchema(const Json& schema) {
  std::string out;
  if (const std::string ref = StringAt(schema, {"$ref"}); !ref.empty()) PutText(1, ref, &out);
  if (const std::string format = StringAt(schema, {"format"}); !format.empty())
    PutText(2, format, &out);
  if (const std::string text = StringAt(schema, {"description"}); !text.empty())
    PutText(4, text, &out);
  if (const Json* required = Find(schema, {"required"}); required && required->is_array())
    for (const Json& name : *required) PutText(19, name.get_ref<const std::string&>(), &out);
  if (const Json* additional = Find(schema, {"additionalProperties"});
      additional && additional->is_object()) {
    std::string item;
    PutText(1, EncodeSchema(*additional), &item);
    PutText(21, item, &out);
  }
  if (const std::string type = StringAt(schema, {"type"}); !type.empty()) {
    std::string item;
    PutText(1, type, &item);
    PutText(22, item, &out);
  }
  if (const Json* items = Find(schema, {"items"})) {
    std::string item;
    PutText(1, EncodeSchema(*items), &item);
    PutText(23, item, &out);
  }
  if (const Json* properties = Find(schema, {"properties"});
      properties && properties->is_object()) {
    std::string item;
    PutNamedSchemas(*properties, 1, &item);
    PutText(25, item, &out);
  }
  PutExtensions(schema, 31, &out);
  return out;
}

/// ParametersItem > Parameter > NonBodyParameter > QueryParameterSubSchema.
std::string EncodeParameter(const Json& parameter) {
  std::string query, non_body, wrapped, item;
  PutText(2, "query", &query);
  PutText(4, StringAt(parameter, {"name"}), &query);
  PutText(6, StringAt(parameter, {"type"}), &query);
  PutText(3, query, &non_body);
  PutText(2, non_body, &wrapped);
  PutText(1, wrapped, &item);
  return item;
}

std::string EncodeOperation(const Json& operation) {
  std::string out;
  PutText(5, StringAt(operation, {"operationId"}), &out);
  if (const Json* parameters = Find(operation, {"parameters"}))
    for (const Json& parameter : *parameters) PutText(8, EncodeParameter(parameter), &out);
  // Responses > NamedResponseValue{name, ResponseValue > Response{description}}.
  std::string response, value, named, responses;
  PutText(1, "OK", &response);
  PutText(1, response, &value);
  PutText(1, "200", &named);
  PutText(2, value, &named);
  PutText(1, named, &responses);
  PutText(9, responses, &out);
  PutExtensions(operation, 13, &out);
  return out;
}

std::string EncodePaths(const Json& paths) {
  constexpr std::pair<const char*, int> kMethods[] = {
      {"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"patch", 8}};
  std::string out;
  for (const auto& [path, operations] : paths.items()) {
    std::string item, named;
    for (const auto& [method, field] : kMethods)
      if (const Json* operation = Find(operations, {method}))
        PutText(field, EncodeOperation(*operation), &item);
    PutText(1, path, &named);
    PutText(2, item, &named);
    PutText(2, named, &out);
  }
  return out;
}

}  // namespace

std::string EncodeOpenApi(const Json& document) {
  std::string out, info, definitions;
  PutText(1, "2.0", &out);
  PutText(1, StringAt(document, {"info", "title"}), &info);
  PutText(2, StringAt(document, {"info", "version"}), &info);
  PutText(2, info, &out);
  if (const Json* paths = Find(document, {"paths"})) PutText(8, EncodePaths(*paths), &out);
  if (const Json* schemas = Find(document, {"definitions"}))
    PutNamedSchemas(*schemas, 1, &definitions);
  PutText(9, definitions, &out);
  return out;
}

}  // namespace isthmus::lab::apiserver
