#include "config/reader.h"

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "base/duration.h"
#include "base/encoding.h"

namespace isthmus::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using kubeapi::Json;

constexpr int kMaxDepth = 64;

std::string Child(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

// Shows a value in an error without letting a hostile one fill the log.
std::string Shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

template <typename Int>
bool ReadInteger(const Json& value, Int& out) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<Int>::max())) return false;
    out = static_cast<Int>(number);
    return true;
  }
  if (value.is_number_integer()) {
    const auto number = value.get<int64_t>();
    if (number < 0 && std::is_unsigned_v<Int>) return false;
    if (number < static_cast<int64_t>(std::numeric_limits<Int>::min())) return false;
    if (number > 0 &&
        static_cast<uint64_t>(number) > static_cast<uint64_t>(std::numeric_limits<Int>::max()))
      return false;
    out = static_cast<Int>(number);
    return true;
  }
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (number != std::floor(number) ||
        number < static_cast<double>(std::numeric_limits<Int>::min()) ||
        number >= static_cast<double>(std::numeric_limits<Int>::max()))
      return false;
    out = static_cast<Int>(number);
    return true;
  }
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool ReadDouble(const Json& value, double& out) {
  if (value.is_number()) {
    out = value.get<double>();
    return true;
  }
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

void ReadValue(const Json& json, google::protobuf::Value& value, int depth);

void ReadStruct(const Json& json, google::protobuf::Struct& out, int depth) {
  for (const auto& [key, item] : json.items()) ReadValue(item, (*out.mutable_fields())[key], depth);
}

void ReadValue(const Json& json, google::protobuf::Value& value, int depth) {
  if (json.is_string()) {
    value.set_string_value(json.get_ref<const std::string&>());
  } else if (json.is_boolean()) {
    value.set_bool_value(json.get<bool>());
  } else if (json.is_number()) {
    value.set_number_value(json.get<double>());
  } else if (json.is_object() && depth < kMaxDepth) {
    ReadStruct(json, *value.mutable_struct_value(), depth + 1);
  } else if (json.is_array() && depth < kMaxDepth) {
    for (const Json& item : json)
      ReadValue(item, *value.mutable_list_value()->add_values(), depth + 1);
  } else {
    value.set_null_value(google::protobuf::NULL_VALUE);
  }
}

/// Walks one JSON tree beside the descriptor of the message it fills.
class Reader {
 public:
  explicit Reader(ReadReport& report) : report_(report) {}

  void Fill(const Json& json, const std::string& path, Message& message, int depth) {
    const Descriptor* type = message.GetDescriptor();
    if (ReadWellKnown(json, path, message)) return;
    if (!json.is_object()) return Wrong(path, json, "an object");
    if (depth > kMaxDepth) return Add(path, "is nested too deeply");
    std::set<const FieldDescriptor*> seen;
    for (const auto& [key, value] : json.items()) {
      const FieldDescriptor* field = FindField(*type, key);
      const std::string at = Child(path, key);
      if (field == nullptr) {
        report_.unknown.push_back(at);
        continue;
      }
      if (value.is_null()) continue;
      if (!seen.insert(field).second) {
        Add(at, "is given twice, in both spellings");
        continue;
      }
      if (const auto* one = field->real_containing_oneof(); one != nullptr) {
        const FieldDescriptor* other = SeenOf(seen, *one, field);
        if (other != nullptr) {
          Add(at, fmt::format("must not be set together with {}", other->json_name()));
          continue;
        }
      }
      ReadField(value, at, message, field, depth);
    }
  }

 private:
  static const FieldDescriptor* FindField(const Descriptor& type, const std::string& key) {
    if (const FieldDescriptor* field = type.FindFieldByName(key)) return field;
    for (int i = 0; i < type.field_count(); ++i)
      if (type.field(i)->json_name() == key) return type.field(i);
    return nullptr;
  }

  static const FieldDescriptor* SeenOf(const std::set<const FieldDescriptor*>& seen,
                                       const google::protobuf::OneofDescriptor& one,
                                       const FieldDescriptor* self) {
    for (int i = 0; i < one.field_count(); ++i)
      if (one.field(i) != self && seen.contains(one.field(i))) return one.field(i);
    return nullptr;
  }

  /// Types whose JSON is not an object of their fields. False when `message` is none of them.
  bool ReadWellKnown(const Json& json, const std::string& path, Message& message) {
    const Descriptor* type = message.GetDescriptor();
    if (type->file()->package() != "google.protobuf") return false;
    const std::string& name = type->name();
    if (name == "Duration") {
      if (!json.is_string() || !ParseDuration(json.get_ref<const std::string&>(),
                                              static_cast<google::protobuf::Duration&>(message)))
        Wrong(path, json, "a duration such as 1.5s or 10m");
    } else if (name == "Struct") {
      if (!json.is_object()) {
        Wrong(path, json, "an object");
      } else {
        message.Clear();
        ReadStruct(json, static_cast<google::protobuf::Struct&>(message), 0);
      }
    } else if (name == "Value") {
      ReadValue(json, static_cast<google::protobuf::Value&>(message), 0);
    } else {  // The wrappers have one field, called value.
      ReadScalar(json, path, message, type->FindFieldByName("value"), false);
    }
    return true;
  }

  void ReadField(const Json& value, const std::string& path, Message& message,
                 const FieldDescriptor* field, int depth) {
    const Reflection* reflection = message.GetReflection();
    if (field->is_map()) return ReadMap(value, path, message, field, depth);
    if (field->is_repeated()) {
      if (!value.is_array()) return Wrong(path, value, "a list");
      reflection->ClearField(&message, field);
      for (size_t i = 0; i < value.size(); ++i) {
        const std::string at = fmt::format("{}[{}]", path, i);
        if (value[i].is_null())
          Add(at, "is empty; remove the item or fill it in");
        else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
          Fill(value[i], at, *reflection->AddMessage(&message, field), depth + 1);
        else
          ReadScalar(value[i], at, message, field, true);
      }
      return;
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
      Fill(value, path, *reflection->MutableMessage(&message, field), depth + 1);
    else
      ReadScalar(value, path, message, field, false);
  }

  void ReadMap(const Json& value, const std::string& path, Message& message,
               const FieldDescriptor* field, int depth) {
    if (!value.is_object()) return Wrong(path, value, "an object");
    const Reflection* reflection = message.GetReflection();
    const FieldDescriptor* key_field = field->message_type()->map_key();
    const FieldDescriptor* value_field = field->message_type()->map_value();
    for (const auto& [key, item] : value.items()) {
      const std::string at = Child(path, key);
      if (item.is_null()) continue;
      // Entries of equal keys are told apart only by the last: protobuf's own map takes care of it.
      Message* entry = reflection->AddMessage(&message, field);
      ReadScalar(Json(key), at, *entry, key_field, false);
      if (value_field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
        Fill(item, at, *entry->GetReflection()->MutableMessage(entry, value_field), depth + 1);
      else
        ReadScalar(item, at, *entry, value_field, false);
    }
  }

  void ReadScalar(const Json& value, const std::string& path, Message& message,
                  const FieldDescriptor* field, bool add) {
    const Reflection* reflection = message.GetReflection();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        if (!value.is_string()) return Wrong(path, value, "a string (use quotes)");
        if (field->type() == FieldDescriptor::TYPE_BYTES) {
          auto bytes = base::Base64Decode(value.get_ref<const std::string&>());
          if (!bytes.ok()) return Wrong(path, value, "base64");
          return reflection->SetString(&message, field, std::move(*bytes));
        }
        if (add)
          reflection->AddString(&message, field, value.get_ref<const std::string&>());
        else
          reflection->SetString(&message, field, value.get_ref<const std::string&>());
        return;
      case FieldDescriptor::CPPTYPE_BOOL:
        if (!value.is_boolean()) return Wrong(path, value, "true or false");
        return reflection->SetBool(&message, field, value.get<bool>());
      case FieldDescriptor::CPPTYPE_ENUM:
        return ReadEnum(value, path, message, field, add);
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        double number = 0;
        if (!ReadDouble(value, number)) return Wrong(path, value, "a number");
        return reflection->SetDouble(&message, field, number);
      }
      case FieldDescriptor::CPPTYPE_INT32:
        return Integer<int32_t>(value, path,
                                [&](int32_t n) { reflection->SetInt32(&message, field, n); });
      case FieldDescriptor::CPPTYPE_UINT32:
        return Integer<uint32_t>(value, path, [&](uint32_t n) {
          add ? reflection->AddUInt32(&message, field, n)
              : reflection->SetUInt32(&message, field, n);
        });
      case FieldDescriptor::CPPTYPE_INT64:
        return Integer<int64_t>(value, path,
                                [&](int64_t n) { reflection->SetInt64(&message, field, n); });
      case FieldDescriptor::CPPTYPE_UINT64:
        return Integer<uint64_t>(value, path,
                                 [&](uint64_t n) { reflection->SetUInt64(&message, field, n); });
      default:
        return Add(path, "has a type that cannot be read");
    }
  }

  template <typename Int, typename Set>
  void Integer(const Json& value, const std::string& path, const Set& set) {
    Int number = 0;
    if (!ReadInteger(value, number))
      return Wrong(path, value,
                   std::is_unsigned_v<Int> ? "a number, zero or above" : "a whole number");
    set(number);
  }

  void ReadEnum(const Json& value, const std::string& path, Message& message,
                const FieldDescriptor* field, bool add) {
    const auto* type = field->enum_type();
    const google::protobuf::EnumValueDescriptor* found = nullptr;
    int32_t number = 0;
    if (value.is_string())
      found = type->FindValueByName(value.get_ref<const std::string&>());
    else if (value.is_number() && ReadInteger(value, number))
      found = type->FindValueByNumber(number);
    if (found == nullptr) {
      std::string names;
      for (int i = 0; i < type->value_count(); ++i)
        names += (i == 0 ? "" : ", ") + type->value(i)->name();
      return Wrong(path, value, "one of " + names);
    }
    if (add)
      message.GetReflection()->AddEnum(&message, field, found);
    else
      message.GetReflection()->SetEnum(&message, field, found);
  }

  void Wrong(const std::string& path, const Json& value, std::string_view wanted) {
    Add(path, fmt::format("{} is not {}", Shown(value), wanted));
  }
  void Add(const std::string& path, std::string reason) {
    report_.errors.push_back({path, std::move(reason)});
  }

  ReadReport& report_;
};

}  // namespace

base::Status ReadReport::status() const {
  if (errors.empty()) return {};
  std::string text;
  for (const Issue& issue : errors) text += (text.empty() ? "" : "; ") + issue.text();
  return base::Status(base::Code::kInvalidArgument, std::move(text));
}

void ReadMessage(const Json& json, std::string_view path, Message& message, ReadReport& report) {
  Reader(report).Fill(json, std::string(path), message, 0);
}

bool ParseDuration(std::string_view text, google::protobuf::Duration& duration) {
  const auto parsed = base::ParseDuration(text);
  if (!parsed.ok()) return false;
  duration.set_seconds(parsed->count() / 1'000'000'000);
  duration.set_nanos(static_cast<int32_t>(parsed->count() % 1'000'000'000));
  return true;
}

std::string ToJsonText(const Message& message) {
  std::string text;
  google::protobuf::util::JsonPrintOptions options;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  return status.ok() ? text : std::string("{}");
}

}  // namespace isthmus::config
