#include "lab/apiserver/openapi.h"

#include "base/encoding.h"
#include "base/strings.h"
#include "kubeapi/meta.h"
#include "lab/apiserver/openapi_protobuf.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::Find;
using kubeapi::StringAt;

constexpr char kProtobuf[] = "application/com.github.proto-openapi.spec.v2";

/// "core.v1.Pod" as clients know it: "io.k8s.api.core.v1.Pod".
std::string DefinitionName(const std::string& type) {
  if (type.starts_with("meta.v1.")) return "io.k8s.apimachinery.pkg.apis." + type;
  if (type.starts_with("apiextensions.v1."))
    return "io.k8s.apiextensions-apiserver.pkg.apis." + type;
  if (type.starts_with("apiregistration.v1.")) return "io.k8s.kube-aggregator.pkg.apis." + type;
  return "io.k8s.api." + type;
}

/// "io.istio.networking.v1.Gateway" of a custom kind.
std::string CustomName(const Kind& kind, const std::string& version) {
  auto parts = base::Split(kind.group, '.');
  std::string out;
  for (auto it = parts.rbegin(); it != parts.rend(); ++it) out += std::string(*it) + ".";
  return out + version + "." + kind.kind;
}

Json GroupVersionKind(const std::string& group, const std::string& version,
                      const std::string& kind) {
  return Json::array({{{"group", group}, {"version", version}, {"kind", kind}}});
}

/// Turns the table of types into OpenAPI schemas, gathering the named types it meets.
class SchemaWriter {
 public:
  explicit SchemaWriter(std::string prefix) : prefix_(std::move(prefix)) {}

  /// Adds the type and all that it refers to.
  void Add(const Type& type) {
    Json& schema = schemas_[DefinitionName(type.name)];
    if (!schema.is_null()) return;
    schema = {{"type", "object"}, {"properties", Json::object()}};
    Json properties = Json::object(), required = Json::array();
    for (const Field& field : type.fields) {
      properties[field.name] = Of(*field.type);
      if (field.required) required.push_back(field.name);
    }
    Json& own = schemas_[DefinitionName(type.name)];
    own["properties"] = std::move(properties);
    if (!required.empty()) own["required"] = std::move(required);
    if (type.atomic) own["x-kubernetes-map-type"] = "atomic";
  }
  Json& schemas() { return schemas_; }

 private:
  Json Of(const Type& type) {
    using Kind = Type::Kind;
    switch (type.kind) {
      case Kind::kString:
        return {{"type", "string"}};
      case Kind::kBytes:
        return {{"type", "string"}, {"format", "byte"}};
      case Kind::kTime:
        return {{"type", "string"}, {"format", "date-time"}};
      case Kind::kInteger:
        return {{"type", "integer"}, {"format", "int64"}};
      case Kind::kNumber:
        return {{"type", "number"}, {"format", "double"}};
      case Kind::kBoolean:
        return {{"type", "boolean"}};
      // kubectl 1.20 checks values itself; both may be numbers or texts, which only a named type
      // says.
      case Kind::kQuantity:
        return Named("io.k8s.apimachinery.pkg.api.resource.Quantity", {{"type", "string"}});
      case Kind::kIntOrString:
        return Named("io.k8s.apimachinery.pkg.util.intstr.IntOrString",
                     {{"type", "string"}, {"format", "int-or-string"}});
      // Without a type: kubectl 1.20 would refuse texts where it reads "object".
      case Kind::kAny:
        return {{"description", "Any JSON value."}};
      case Kind::kMap: {
        Json map = {{"type", "object"}, {"additionalProperties", Of(*type.element)}};
        if (type.atomic) map["x-kubernetes-map-type"] = "atomic";
        return map;
      }
      case Kind::kList:
        return List(type);
      case Kind::kObject:
        break;
    }
    Add(type);
    Json ref = {{"$ref", prefix_ + DefinitionName(type.name)}};
    if (type.retain_keys) ref["x-kubernetes-patch-strategy"] = "retainKeys";
    return ref;
  }
  Json List(const Type& type) {
    Json list = {{"type", "array"}, {"items", Of(*type.element)}};
    if (type.list_type == Type::ListType::kSet) list["x-kubernetes-list-type"] = "set";
    if (type.list_type == Type::ListType::kMap) {
      list["x-kubernetes-list-type"] = "map";
      list["x-kubernetes-list-map-keys"] = type.map_keys;
    }
    if (!type.merge_key.empty()) list["x-kubernetes-patch-merge-key"] = type.merge_key;
    if (!type.merge_key.empty() || type.merge_scalars)
      list["x-kubernetes-patch-strategy"] = "merge";
    return list;
  }
  Json Named(const char* name, Json schema) {
    schemas_[name] = std::move(schema);
    return {{"$ref", prefix_ + name}};
  }

  std::string prefix_;
  Json schemas_ = Json::object();
};

Json Parameters(const std::vector<const char*>& names, bool v3) {
  Json list = Json::array();
  for (const char* name : names) {
    const char* type = std::string_view(name) == "force" ? "boolean" : "string";
    Json parameter = {{"name", name}, {"in", "query"}};
    if (v3)
      parameter["schema"] = {{"type", type}, {"uniqueItems", true}};
    else
      parameter["type"] = type;
    list.push_back(std::move(parameter));
  }
  return list;
}

/// The paths of a kind, as far as clients look at them: which query parameters a write takes.
void AddPaths(const Kind& kind, const KindVersion& version, bool v3, Json* paths) {
  std::string base =
      kind.group.empty() ? "/api/" + version.name : "/apis/" + kind.group + "/" + version.name;
  if (kind.namespaced) base += "/namespaces/{namespace}";
  base += "/" + kind.plural;
  const Json gvk = GroupVersionKind(kind.group, version.name, kind.kind)[0];
  const Json responses = {{"200", {{"description", "OK"}}}};
  auto operation = [&](const char* verb, const char* action,
                       const std::vector<const char*>& names) {
    return Json{{"operationId", std::string(verb) + (kind.namespaced ? "Namespaced" : "") +
                                    kind.kind + version.name + kind.group},
                {"parameters", Parameters(names, v3)},
                {"responses", responses},
                {"x-kubernetes-action", action},
                {"x-kubernetes-group-version-kind", gvk}};
  };
  (*paths)[base]["post"] =
      operation("create", "post", {"dryRun", "fieldManager", "fieldValidation"});
  if (kind.review) return;
  (*paths)[base]["get"] =
      operation("list", "list", {"labelSelector", "fieldSelector", "limit", "continue", "watch"});
  Json& item = (*paths)[base + "/{name}"];
  item["get"] = operation("read", "get", {});
  item["put"] = operation("replace", "put", {"dryRun", "fieldManager", "fieldValidation"});
  item["patch"] =
      operation("patch", "patch", {"dryRun", "fieldManager", "fieldValidation", "force"});
  item["delete"] =
      operation("delete", "delete", {"dryRun", "gracePeriodSeconds", "propagationPolicy"});
}

/// The schema of a custom kind as its CRD states it, with metadata made whole.
Json CustomSchemaOf(const Engine& engine, const Kind& kind, const KindVersion& version,
                    const std::string& prefix) {
  Json schema = {{"type", "object"}};
  auto crd = engine.Get("customresourcedefinitions.apiextensions.k8s.io", "", kind.resource_key());
  const Json* versions = crd ? Find(*crd, {"spec", "versions"}) : nullptr;
  if (versions && versions->is_array())
    for (const Json& each : *versions)
      if (StringAt(each, {"name"}) == version.name)
        if (const Json* own = Find(each, {"schema", "openAPIV3Schema"})) schema = *own;
  Json& properties = schema["properties"];
  if (!properties.is_object()) properties = Json::object();
  properties["apiVersion"] = {{"type", "string"}};
  properties["kind"] = {{"type", "string"}};
  properties["metadata"] = {{"$ref", prefix + DefinitionName("meta.v1.ObjectMeta")}};
  return schema;
}

/// What version 2 can say of a custom resource's schema. Clients of that age check with it, so that
/// whatever it cannot say must allow everything.
Json OldSchema(const Json& schema) {
  Json out = Json::object();
  if (!schema.is_object()) return out;
  for (const char* key : {"description", "x-kubernetes-group-version-kind"})
    if (auto it = schema.find(key); it != schema.end()) out[key] = *it;
  if (auto ref = schema.find("$ref"); ref != schema.end()) return {{"$ref", *ref}};
  for (const char* key :
       {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "nullable"})
    if (kubeapi::BoolAt(schema, {key})) return out;
  for (const char* key : {"type", "format", "required"})
    if (auto it = schema.find(key); it != schema.end()) out[key] = *it;
  if (auto it = schema.find("properties"); it != schema.end() && it->is_object())
    for (const auto& [name, property] : it->items()) out["properties"][name] = OldSchema(property);
  for (const char* key : {"items", "additionalProperties"})
    if (auto it = schema.find(key); it != schema.end() && it->is_object())
      out[key] = OldSchema(*it);
  return out;
}

}  // namespace

std::optional<Response> OpenApi::Serve(const Request& request) const {
  if (request.path == "/openapi/v2") return Version2(request);
  if (request.path == "/openapi/v3" || request.path == "/openapi/v3/") return Root();
  const auto parts = base::Split(std::string_view(request.path).substr(1), '/');
  if (parts.size() == 4 && parts[2] == "api") return GroupVersion("", std::string(parts[3]));
  if (parts.size() == 5 && parts[2] == "apis")
    return GroupVersion(std::string(parts[3]), std::string(parts[4]));
  return std::nullopt;
}

Response OpenApi::Root() const {
  Json paths = Json::object();
  for (const KindPtr& kind : engine_.kinds.all())
    for (const KindVersion& version : kind->versions) {
      if (!version.served) continue;
      const std::string path =
          kind->group.empty() ? "api/" + version.name : "apis/" + kind->group + "/" + version.name;
      // Clients keep a document by its hash; any change of the kinds changes all of them.
      paths[path] = {
          {"serverRelativeURL", fmt::format("/openapi/v3/{}?hash={:X}", path,
                                            base::Hash64(path, engine_.kinds.generation()))}};
    }
  return JsonResponse(200, {{"paths", std::move(paths)}});
}

std::optional<Response> OpenApi::GroupVersion(const std::string& group,
                                              const std::string& version_name) const {
  static const std::string kPrefix = "#/components/schemas/";
  SchemaWriter writer(kPrefix);
  Json paths = Json::object();
  const BuiltinTypes& types = BuiltinTypes::Get();
  bool any = false;
  for (const KindPtr& kind : engine_.kinds.all()) {
    const KindVersion* version = kind->group == group ? kind->FindVersion(version_name) : nullptr;
    if (!version) continue;
    any = true;
    AddPaths(*kind, *version, true, &paths);
    std::string name;
    if (kind->custom) {
      name = CustomName(*kind, version->name);
      writer.Add(*types.Find("meta.v1.ObjectMeta"));
      writer.schemas()[name] = CustomSchemaOf(engine_, *kind, *version, kPrefix);
    } else if (version->type) {
      name = DefinitionName(version->type->name);
      writer.Add(*version->type);
    } else {
      continue;
    }
    writer.schemas()[name]["x-kubernetes-group-version-kind"] =
        GroupVersionKind(kind->group, version->name, kind->kind);
  }
  if (!any) return std::nullopt;
  writer.Add(*types.Find("meta.v1.DeleteOptions"));
  return JsonResponse(200, {{"openapi", "3.0.0"},
                            {"info", {{"title", "Kubernetes"}, {"version", engine_.git_version}}},
                            {"paths", std::move(paths)},
                            {"components", {{"schemas", std::move(writer.schemas())}}}});
}

Response OpenApi::Version2(const Request& request) const {
  static const std::string kPrefix = "#/definitions/";
  SchemaWriter writer(kPrefix);
  Json paths = Json::object();
  for (const KindPtr& kind : engine_.kinds.all())
    for (const KindVersion& version : kind->versions) {
      if (!version.served) continue;
      AddPaths(*kind, version, false, &paths);
      std::string name;
      if (kind->custom) {
        name = CustomName(*kind, version.name);
        writer.Add(*BuiltinTypes::Get().Find("meta.v1.ObjectMeta"));
        writer.schemas()[name] = OldSchema(CustomSchemaOf(engine_, *kind, version, kPrefix));
      } else if (version.type) {
        name = DefinitionName(version.type->name);
        writer.Add(*version.type);
      } else {
        continue;
      }
      writer.schemas()[name]["x-kubernetes-group-version-kind"] =
          GroupVersionKind(kind->group, version.name, kind->kind);
    }
  const Json document = {{"swagger", "2.0"},
                         {"info", {{"title", "Kubernetes"}, {"version", engine_.git_version}}},
                         {"paths", std::move(paths)},
                         {"definitions", std::move(writer.schemas())}};
  if (request.Header("accept").find(kProtobuf) == std::string::npos)
    return JsonResponse(200, document);
  Response response;
  response.content_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
  response.body = EncodeOpenApi(document);
  return response;
}

}  // namespace isthmus::lab::apiserver
