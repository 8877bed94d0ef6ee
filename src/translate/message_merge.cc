#include "translate/message_merge.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/util/json_util.h>

#include "envoy/extensions/access_loggers/filters/cel/v3/cel.pb.h"
#include "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.pb.h"
#include "envoy/extensions/filters/http/lua/v3/lua.pb.h"
#include "envoy/extensions/filters/http/ratelimit/v3/rate_limit.pb.h"
#include "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.pb.h"
#include "translate/pack.h"
#include "udpa/type/v1/typed_struct.pb.h"
#include "xds/type/v3/typed_struct.pb.h"

namespace isthmus::translate {
namespace {

using google::protobuf::Any;
using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;
using google::protobuf::Reflection;
using google::protobuf::Struct;
using google::protobuf::Value;
using xds::type::v3::TypedStruct;

/// Types that are always built in, besides those that translation writes itself: without a use the
/// linker drops them, and what users write would be checked by Envoy only.
const Descriptor* const kBuiltIn[] = {
    TypedStruct::descriptor(),
    udpa::type::v1::TypedStruct::descriptor(),
    envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter::descriptor(),
    envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit::descriptor(),
    envoy::extensions::filters::http::lua::v3::Lua::descriptor(),
    envoy::extensions::filters::http::lua::v3::LuaPerRoute::descriptor(),
    envoy::extensions::filters::http::ratelimit::v3::RateLimit::descriptor(),
    envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol::descriptor(),
};

std::string TypeName(const std::string& url) { return url.substr(url.rfind('/') + 1); }

std::unique_ptr<Message> NewMessage(const std::string& url) {
  const Descriptor* type = DescriptorPool::generated_pool()->FindMessageTypeByName(TypeName(url));
  if (type == nullptr) return nullptr;
  return std::unique_ptr<Message>(MessageFactory::generated_factory()->GetPrototype(type)->New());
}

void MergeStruct(const Struct& from, Struct* to);

void MergeValue(const Value& from, Value* to) {
  if (from.has_struct_value() && to->has_struct_value())
    return MergeStruct(from.struct_value(), to->mutable_struct_value());
  if (from.has_list_value() && to->has_list_value())
    return to->mutable_list_value()->MergeFrom(from.list_value());
  *to = from;
}

void MergeStruct(const Struct& from, Struct* to) {
  for (const auto& [key, value] : from.fields()) MergeValue(value, &(*to->mutable_fields())[key]);
}

void MergeAny(const Any& from, Any* to) {
  auto patch = NewMessage(from.type_url());
  auto merged = NewMessage(to->type_url());
  if (patch == nullptr || merged == nullptr || patch->GetDescriptor() != merged->GetDescriptor() ||
      !patch->ParseFromString(from.value()) || !merged->ParseFromString(to->value())) {
    *to = from;
    return;
  }
  MergeMessage(*patch, merged.get());
  Pack(*merged, to);
}

/// Types that are one value, however many fields they have.
bool IsOneValue(const Descriptor& type) {
  const std::string& name = type.full_name();
  return name == "google.protobuf.Duration" || name == "google.protobuf.Timestamp" ||
         (name.starts_with("google.protobuf.") && name.ends_with("Value") &&
          name != "google.protobuf.ListValue");
}

bool OtherTransportSocket(const Message& from, const Message& to) {
  const Descriptor& type = *from.GetDescriptor();
  if (type.full_name() != "envoy.config.core.v3.TransportSocket") return false;
  const FieldDescriptor* name = type.FindFieldByName("name");
  return from.GetReflection()->GetString(from, name) != to.GetReflection()->GetString(to, name);
}

void MergeField(const Message& from, const FieldDescriptor* field, Message* to) {
  const Message& patch = from.GetReflection()->GetMessage(from, field);
  const Reflection& reflection = *to->GetReflection();
  const bool fresh = !reflection.HasField(*to, field);
  Message* merged = reflection.MutableMessage(to, field);
  if (fresh || IsOneValue(*patch.GetDescriptor()) || OtherTransportSocket(patch, *merged)) {
    merged->CopyFrom(patch);
  } else {
    MergeMessage(patch, merged);
  }
}

void WrapValue(Value* value);

void WrapStruct(Struct* message) {
  for (auto& [key, value] : *message->mutable_fields()) WrapValue(&value);
  auto type = message->fields().find("@type");
  if (type == message->fields().end() || !type->second.has_string_value()) return;
  const std::string url = type->second.string_value();
  const std::string name = TypeName(url);
  if (name == "xds.type.v3.TypedStruct" || name == "udpa.type.v1.TypedStruct") {
    // The other way round: what is built in is written as itself, so that patches of both forms can
    // be merged.
    auto inner = message->fields().find("type_url");
    if (inner == message->fields().end()) inner = message->fields().find("typeUrl");
    if (inner == message->fields().end() || NewMessage(inner->second.string_value()) == nullptr)
      return;
    Struct unwrapped;
    if (auto held = message->fields().find("value"); held != message->fields().end())
      unwrapped = held->second.struct_value();
    (*unwrapped.mutable_fields())["@type"] = inner->second;
    *message = std::move(unwrapped);
    return;
  }
  if (NewMessage(url) != nullptr) return;
  Struct inner = *message;
  inner.mutable_fields()->erase("@type");
  message->clear_fields();
  auto& fields = *message->mutable_fields();
  fields["@type"].set_string_value("type.googleapis.com/xds.type.v3.TypedStruct");
  fields["type_url"].set_string_value(url);
  *fields["value"].mutable_struct_value() = std::move(inner);
}

void WrapValue(Value* value) {
  if (value->has_struct_value()) return WrapStruct(value->mutable_struct_value());
  if (!value->has_list_value()) return;
  for (Value& item : *value->mutable_list_value()->mutable_values()) WrapValue(&item);
}

/// JSON is turned into the bytes of an Any in the order in which its fields come, which for a
/// Struct is another each time. Written anew, equal values have equal bytes.
void WriteAnyAnew(Message* message) {
  const Descriptor& type = *message->GetDescriptor();
  if (type.full_name() == "google.protobuf.Struct") return;
  if (type.full_name() == "google.protobuf.Any") {
    Any* any = dynamic_cast<Any*>(message);
    auto inner = NewMessage(any->type_url());
    if (inner == nullptr || !inner->ParseFromString(any->value())) return;
    WriteAnyAnew(inner.get());
    return Pack(*inner, any);
  }
  const Reflection& reflection = *message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      WriteAnyAnew(reflection.MutableMessage(message, field));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(*message, field); ++i)
      WriteAnyAnew(reflection.MutableRepeatedMessage(message, field, i));
  }
}

}  // namespace

void MergeMessage(const Message& from, Message* to) {
  const Descriptor& type = *from.GetDescriptor();
  if (type.full_name() == "google.protobuf.Any")
    return MergeAny(dynamic_cast<const Any&>(from), dynamic_cast<Any*>(to));
  if (type.full_name() == "google.protobuf.Struct")
    return MergeStruct(dynamic_cast<const Struct&>(from), dynamic_cast<Struct*>(to));
  std::vector<const FieldDescriptor*> fields;
  from.GetReflection()->ListFields(from, &fields);
  auto nested = [](const FieldDescriptor* field) {
    return !field->is_repeated() && field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  };
  // Protobuf's own merge does the rest: scalars win, lists grow, entries of maps are replaced.
  std::unique_ptr<Message> rest(from.New());
  rest->CopyFrom(from);
  for (const FieldDescriptor* field : fields)
    if (nested(field)) rest->GetReflection()->ClearField(rest.get(), field);
  to->MergeFrom(*rest);
  for (const FieldDescriptor* field : fields)
    if (nested(field)) MergeField(from, field, to);
}

base::Result<std::shared_ptr<const Message>> ReadMessage(Struct value, const Message& prototype) {
  static_assert(sizeof kBuiltIn > 0);
  WrapStruct(&value);
  std::string json;
  if (auto status = google::protobuf::util::MessageToJsonString(value, &json); !status.ok())
    return base::Status(base::Code::kInvalidArgument, std::string(status.message()));
  std::shared_ptr<Message> message(prototype.New());
  if (auto status = google::protobuf::util::JsonStringToMessage(json, message.get()); !status.ok())
    return base::Status(base::Code::kInvalidArgument, std::string(status.message()));
  WriteAnyAnew(message.get());
  return std::shared_ptr<const Message>(std::move(message));
}

}  // namespace isthmus::translate
