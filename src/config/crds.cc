#include "config/crds.h"

#include <google/protobuf/descriptor.h>

#include <map>
#include <string>

#include "config/kinds.h"
#include "istio/extensions/v1alpha1/wasm.pb.h"
#include "istio/networking/v1/envoy_filter.pb.h"
#include "istio/networking/v1/proxy_config.pb.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "istio/networking/v1/sidecar.pb.h"
#include "istio/networking/v1/workload_group.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "istio/security/v1/peer_authentication.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "istio/telemetry/v1/telemetry.pb.h"

namespace isthmus::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using kubeapi::Json;

/// Naming each message once keeps the linker from dropping its registration.
const Descriptor* SpecDescriptor(const std::string& message) {
  static const std::map<std::string, const Descriptor*>& known =
      *new std::map<std::string, const Descriptor*>{
          {"istio.networking.v1.VirtualService",
           istio::networking::v1::VirtualService::descriptor()},
          {"istio.networking.v1.DestinationRule",
           istio::networking::v1::DestinationRule::descriptor()},
          {"istio.networking.v1.Gateway", istio::networking::v1::Gateway::descriptor()},
          {"istio.networking.v1.ServiceEntry", istio::networking::v1::ServiceEntry::descriptor()},
          {"istio.networking.v1.WorkloadEntry", istio::networking::v1::WorkloadEntry::descriptor()},
          {"istio.networking.v1.WorkloadGroup", istio::networking::v1::WorkloadGroup::descriptor()},
          {"istio.networking.v1.Sidecar", istio::networking::v1::Sidecar::descriptor()},
          {"istio.networking.v1.EnvoyFilter", istio::networking::v1::EnvoyFilter::descriptor()},
          {"istio.networking.v1.ProxyConfig", istio::networking::v1::ProxyConfig::descriptor()},
          {"istio.security.v1.PeerAuthentication",
           istio::security::v1::PeerAuthentication::descriptor()},
          {"istio.security.v1.RequestAuthentication",
           istio::security::v1::RequestAuthentication::descriptor()},
          {"istio.security.v1.AuthorizationPolicy",
           istio::security::v1::AuthorizationPolicy::descriptor()},
          {"istio.telemetry.v1.Telemetry", istio::telemetry::v1::Telemetry::descriptor()},
          {"istio.extensions.v1alpha1.WasmPlugin",
           istio::extensions::v1alpha1::WasmPlugin::descriptor()},
      };
  return known.at(message);
}

Json MessageSchema(const Descriptor& message);

Json FreeObject() { return {{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}}; }

Json IntegerSchema(bool is_unsigned, int64_t maximum) {
  Json schema = {{"type", "integer"}};
  if (is_unsigned) schema["minimum"] = 0;
  if (maximum > 0) schema["maximum"] = maximum;
  return schema;
}

Json WellKnownSchema(const Descriptor& message) {
  const std::string& name = message.name();
  if (name == "Duration")
    return {{"type", "string"}, {"description", "A duration such as 1.5s or 10m."}};
  if (name == "BoolValue") return {{"type", "boolean"}, {"nullable", true}};
  if (name == "StringValue") return {{"type", "string"}, {"nullable", true}};
  if (name == "DoubleValue" || name == "FloatValue")
    return {{"type", "number"}, {"nullable", true}};
  if (name.ends_with("Value") && name != "Value") {
    Json schema = IntegerSchema(name.starts_with("UInt"), name == "UInt32Value" ? 4294967295LL : 0);
    schema["nullable"] = true;
    return schema;
  }
  return FreeObject();
}

Json EnumSchema(const google::protobuf::EnumDescriptor& type) {
  Json names = Json::array();
  for (int i = 0; i < type.value_count(); ++i) names.push_back(type.value(i)->name());
  return {{"type", "string"}, {"enum", std::move(names)}};
}

Json ValueSchema(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return field.type() == FieldDescriptor::TYPE_BYTES
                 ? Json{{"type", "string"}, {"format", "byte"}}
                 : Json{{"type", "string"}};
    case FieldDescriptor::CPPTYPE_BOOL:
      return {{"type", "boolean"}};
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumSchema(*field.enum_type());
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      return {{"type", "number"}};
    case FieldDescriptor::CPPTYPE_INT32: {
      Json schema = IntegerSchema(false, 0);
      schema["format"] = "int32";
      return schema;
    }
    case FieldDescriptor::CPPTYPE_UINT32:
      return IntegerSchema(true, 4294967295LL);
    case FieldDescriptor::CPPTYPE_INT64:
      return IntegerSchema(false, 0);
    case FieldDescriptor::CPPTYPE_UINT64:
      return IntegerSchema(true, 0);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageSchema(*field.message_type());
  }
  return FreeObject();
}

Json FieldSchema(const FieldDescriptor& field) {
  if (field.is_map())
    return {{"type", "object"},
            {"additionalProperties", ValueSchema(*field.message_type()->map_value())}};
  if (field.is_repeated()) return {{"type", "array"}, {"items", ValueSchema(field)}};
  return ValueSchema(field);
}

/// "At most one of these": none, or exactly one that is required, as structural schemas can say it.
Json OneofRule(const google::protobuf::OneofDescriptor& one) {
  Json choices = Json::array();
  Json each = Json::array();
  for (int i = 0; i < one.field_count(); ++i)
    each.push_back({{"required", Json::array({one.field(i)->json_name()})}});
  choices.push_back({{"not", {{"anyOf", each}}}});
  for (const Json& choice : each) choices.push_back(choice);
  return {{"oneOf", std::move(choices)}};
}

Json MessageSchema(const Descriptor& message) {
  if (message.file()->package() == "google.protobuf") return WellKnownSchema(message);
  Json schema = {{"type", "object"}};
  Json properties = Json::object();
  for (int i = 0; i < message.field_count(); ++i)
    properties[message.field(i)->json_name()] = FieldSchema(*message.field(i));
  if (!properties.empty()) schema["properties"] = std::move(properties);
  Json rules = Json::array();
  for (int i = 0; i < message.real_oneof_decl_count(); ++i)
    if (message.oneof_decl(i)->field_count() > 1)
      rules.push_back(OneofRule(*message.oneof_decl(i)));
  if (rules.size() == 1)
    schema["oneOf"] = rules[0]["oneOf"];
  else if (rules.size() > 1)
    schema["allOf"] = std::move(rules);
  return schema;
}

Json StatusSchema() { return FreeObject(); }

Json VersionEntry(const Kind& kind, const std::string& version) {
  Json columns = Json::array();
  for (const PrinterColumn& column : kind.columns)
    columns.push_back({{"name", column.name},
                       {"type", column.type},
                       {"jsonPath", column.json_path},
                       {"description", column.description}});
  Json spec = MessageSchema(*SpecDescriptor(kind.message));
  spec["description"] = kind.description;
  Json schema = {{"type", "object"},
                 {"properties", {{"spec", std::move(spec)}, {"status", StatusSchema()}}}};
  return {{"name", version},
          {"served", true},
          {"storage", version == kind.versions.front()},
          {"additionalPrinterColumns", std::move(columns)},
          {"subresources", {{"status", Json::object()}}},
          {"schema", {{"openAPIV3Schema", std::move(schema)}}}};
}

}  // namespace

std::vector<Json> Crds() {
  std::vector<Json> crds;
  for (const Kind& kind : Kinds()) {
    const std::string area = kind.group.substr(0, kind.group.find('.'));
    Json names = {{"kind", kind.kind},
                  {"listKind", kind.kind + "List"},
                  {"plural", kind.plural},
                  {"singular", kind.singular},
                  {"categories", Json::array({"istio-io", area + "-istio-io"})}};
    if (!kind.short_names.empty()) names["shortNames"] = kind.short_names;
    Json versions = Json::array();
    for (const std::string& version : kind.versions)
      versions.push_back(VersionEntry(kind, version));
    crds.push_back({{"apiVersion", "apiextensions.k8s.io/v1"},
                    {"kind", "CustomResourceDefinition"},
                    {"metadata",
                     {{"name", kind.plural + "." + kind.group},
                      {"labels",
                       {{"app", "istio-pilot"},
                        {"chart", "istio"},
                        {"heritage", "Tiller"},
                        {"release", "istio"}}},
                      {"annotations", {{"helm.sh/resource-policy", "keep"}}}}},
                    {"spec",
                     {{"group", kind.group},
                      {"names", std::move(names)},
                      {"scope", "Namespaced"},
                      {"versions", std::move(versions)}}}});
  }
  return crds;
}

}  // namespace isthmus::config
