#include "lab/apiserver/protobuf.h"

#include <algorithm>
#include <bit>
#include <deque>
#include <map>
#include <vector>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::lab::apiserver {
namespace {

using base::Code;
using base::Error;
using base::Status;
using kubeapi::Json;

const char kWire[] =
#include "lab/apiserver/builtin_wire.txt"
    ;

struct WireField {
  std::string_view name;
  std::string_view type;  ///< "s", "[@core.v1.Container", "{s"
  bool pointer = false;
  bool inlined = false;
};

using WireMessage = std::map<uint32_t, WireField>;

const WireMessage* FindMessage(std::string_view name) {
  static const auto messages = [] {
    std::map<std::string_view, WireMessage> all;
    WireMessage* current = nullptr;
    for (std::string_view line : base::Split(kWire, '\n')) {
      if (line.empty()) continue;
      if (line[0] != ' ') {
        current = &all[line];
        continue;
      }
      const auto words = base::Split(line.substr(1), ' ');
      if (words.size() < 3) continue;
      WireField field{words[1], words[2], false, false};
      for (size_t i = 3; i < words.size(); ++i)
        (words[i] == "*" ? field.pointer : field.inlined) = true;
      (*current)[static_cast<uint32_t>(*base::ParseInt(words[0]))] = field;
    }
    return all;
  }();
  auto it = messages.find(name);
  return it == messages.end() ? nullptr : &it->second;
}

/// One field as it lies on the wire.
struct Piece {
  uint32_t number = 0;
  int wire_type = 0;
  uint64_t value = 0;
  std::string_view bytes;
};

class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : left_(bytes) {}
  bool done() const { return left_.empty(); }

  /// False when the bytes are broken.
  bool Next(Piece* piece) {
    uint64_t key = 0;
    if (!Varint(&key) || key >> 3 == 0 || key >> 35 != 0) return false;
    piece->number = static_cast<uint32_t>(key >> 3);
    piece->wire_type = static_cast<int>(key & 7);
    switch (piece->wire_type) {
      case 0:
        return Varint(&piece->value);
      case 1:
        return Fixed(8, &piece->value);
      case 5:
        return Fixed(4, &piece->value);
      case 2: {
        uint64_t length = 0;
        if (!Varint(&length) || length > left_.size()) return false;
        piece->bytes = left_.substr(0, length);
        left_.remove_prefix(length);
        return true;
      }
      default:
        return false;
    }
  }

 private:
  bool Varint(uint64_t* out) {
    *out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (left_.empty()) return false;
      const auto byte = static_cast<unsigned char>(left_[0]);
      left_.remove_prefix(1);
      *out |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool Fixed(size_t size, uint64_t* out) {
    if (left_.size() < size) return false;
    *out = 0;
    for (size_t i = 0; i < size; ++i)
      *out |= static_cast<uint64_t>(static_cast<unsigned char>(left_[i])) << (8 * i);
    left_.remove_prefix(size);
    return true;
  }
  std::string_view left_;
};

constexpr int kDeepest = 60;
// What the nanoseconds of base::Time can say.
constexpr int64_t kEarliest = -9'223'372'036, kLatest = 9'223'372'036;
Status Message(std::string_view name, std::string_view bytes, int depth, Json* out);

Json TimeValue(std::string_view bytes, bool micro) {
  Cursor cursor(bytes);
  Piece piece;
  int64_t seconds = 0, nanos = 0;
  while (!cursor.done() && cursor.Next(&piece))
    (piece.number == 1 ? seconds : nanos) = static_cast<int64_t>(piece.value);
  if (bytes.empty()) return nullptr;
  seconds = std::clamp(seconds, kEarliest, kLatest);
  std::string text = base::FormatTime(base::Time(std::chrono::seconds(seconds)));
  if (micro && text.ends_with("Z"))
    text = fmt::format("{}.{:06}Z", text.substr(0, text.size() - 1), nanos / 1000);
  return text;
}

/// Messages whose JSON form is not an object of their fields. False when `name` is none of them.
bool Special(std::string_view name, std::string_view bytes, int depth, Json* out) {
  auto first = [&](uint32_t number) -> Piece {
    Cursor cursor(bytes);
    Piece piece, found;
    while (!cursor.done() && cursor.Next(&piece))
      if (piece.number == number) found = piece;
    return found;
  };
  auto embedded = [&](uint32_t number) {
    auto parsed = kubeapi::ParseJson(first(number).bytes);
    *out = parsed.ok() ? std::move(*parsed) : Json();
  };
  if (name == "meta.v1.Time" || name == "meta.v1.MicroTime") {
    *out = TimeValue(bytes, name == "meta.v1.MicroTime");
  } else if (name == "Quantity") {
    *out = std::string(first(1).bytes);
  } else if (name == "IntOrString") {
    const bool text = first(1).value == 1;
    *out = text ? Json(std::string(first(3).bytes)) : Json(static_cast<int64_t>(first(2).value));
  } else if (name == "runtime.RawExtension" || name == "meta.v1.FieldsV1" ||
             name == "apiextensions.v1.JSON") {
    embedded(1);
  } else if (name == "meta.v1.Duration") {
    *out = fmt::format("{}s", static_cast<double>(static_cast<int64_t>(first(1).value)) / 1e9);
  } else if (name == "meta.v1.Verbs" || name.ends_with(".ExtraValue")) {
    *out = Json::array();
    Cursor cursor(bytes);
    Piece piece;
    while (!cursor.done() && cursor.Next(&piece)) out->push_back(std::string(piece.bytes));
  } else if (name.starts_with("apiextensions.v1.JSONSchemaPropsOr")) {
    const Piece schema = first(name.ends_with("Bool") ? 2 : 1);
    const Piece strings = first(2);
    if (!schema.bytes.empty())
      (void)Message("apiextensions.v1.JSONSchemaProps", schema.bytes, depth + 1, out);
    else if (name.ends_with("Bool"))
      *out = first(1).value != 0;
    else
      *out = Json::array({std::string(strings.bytes)});
  } else {
    return false;
  }
  return true;
}

Status Scalar(char type, const Piece& piece, Json* out) {
  switch (type) {
    case 's':
      *out = std::string(piece.bytes);
      break;
    case 'y':
      *out = base::Base64Encode(piece.bytes);
      break;
    case 'i':
      *out = static_cast<int64_t>(piece.value);
      break;
    case 'b':
      *out = piece.value != 0;
      break;
    case 'n':
      *out = std::bit_cast<double>(piece.value);
      break;
    default:
      return Error(Code::kInternal, "unknown wire type {}", type);
  }
  if (type == 's' && piece.wire_type != 2)
    return Error(Code::kInvalidArgument, "a text field has another wire type");
  return {};
}

Status Value(std::string_view type, const Piece& piece, int depth, Json* out) {
  if (type[0] != '@') return Scalar(type[0], piece, out);
  if (piece.wire_type != 2)
    return Error(Code::kInvalidArgument, "a message field has another wire type");
  if (Special(type.substr(1), piece.bytes, depth, out)) return {};
  return Message(type.substr(1), piece.bytes, depth + 1, out);
}

Status MapEntry(std::string_view type, std::string_view bytes, int depth, Json* out) {
  Cursor cursor(bytes);
  Piece piece;
  std::string key;
  Json value = type == "s" || type == "y" ? Json("") : Json();
  while (!cursor.done()) {
    if (!cursor.Next(&piece)) return Error(Code::kInvalidArgument, "the protobuf is broken");
    if (piece.number == 1) key = std::string(piece.bytes);
    if (piece.number == 2) RETURN_IF_ERROR(Value(type, piece, depth, &value), "a map");
  }
  if (!out->is_object()) *out = Json::object();
  (*out)[key] = std::move(value);
  return {};
}

bool IsZero(const Json& value) {
  return (value.is_string() && value.get_ref<const std::string&>().empty()) ||
         (value.is_boolean() && !value.get<bool>()) || (value.is_number() && value == 0);
}

Status Message(std::string_view name, std::string_view bytes, int depth, Json* out) {
  if (depth > kDeepest) return Error(Code::kInvalidArgument, "the protobuf is nested too deeply");
  const WireMessage* message = FindMessage(name);
  if (!message) return Error(Code::kUnimplemented, "no protobuf form of {} is known", name);
  if (!out->is_object()) *out = Json::object();
  Cursor cursor(bytes);
  Piece piece;
  while (!cursor.done()) {
    if (!cursor.Next(&piece))
      return Error(Code::kInvalidArgument, "the protobuf of {} is broken", name);
    auto it = message->find(piece.number);
    if (it == message->end()) continue;
    const WireField& field = it->second;
    const std::string key(field.name);
    if (field.inlined) {
      RETURN_IF_ERROR(Message(field.type.substr(1), piece.bytes, depth + 1, out), field.name);
    } else if (field.type[0] == '[') {
      Json item;
      RETURN_IF_ERROR(Value(field.type.substr(1), piece, depth, &item), field.name);
      (*out)[key].push_back(std::move(item));
    } else if (field.type[0] == '{') {
      RETURN_IF_ERROR(MapEntry(field.type.substr(1), piece.bytes, depth, &(*out)[key]), field.name);
    } else {
      Json value;
      RETURN_IF_ERROR(Value(field.type, piece, depth, &value), field.name);
      // What is no pointer in Go is always written; its zero means absent.
      if (field.type[0] != '@' && !field.pointer && IsZero(value)) continue;
      (*out)[key] = std::move(value);
    }
  }
  return {};
}

}  // namespace

base::Result<Json> DecodeProtobuf(std::string_view bytes) {
  constexpr std::string_view kMagic("k8s\0", 4);
  if (!bytes.starts_with(kMagic))
    return Error(Code::kInvalidArgument, "the body does not begin as Kubernetes' protobuf does");
  Cursor cursor(bytes.substr(kMagic.size()));
  Piece piece;
  Json type = Json::object();
  std::string_view raw;
  while (!cursor.done()) {
    if (!cursor.Next(&piece)) return Error(Code::kInvalidArgument, "the protobuf is broken");
    if (piece.number == 1)
      RETURN_IF_ERROR(Message("runtime.TypeMeta", piece.bytes, 0, &type), "typeMeta");
    if (piece.number == 2) raw = piece.bytes;
  }
  const std::string api_version = kubeapi::StringAt(type, {"apiVersion"}),
                    kind = kubeapi::StringAt(type, {"kind"});
  const std::string group(kubeapi::GroupOf(api_version));
  std::string prefix = group.empty() ? "core" : group.substr(0, group.find('.'));
  // Options come under the group version of what they are for.
  if (kind == "DeleteOptions" || kind == "CreateOptions" || kind == "UpdateOptions" ||
      kind == "PatchOptions" || kind == "GetOptions" || kind == "ListOptions" || kind == "Status")
    prefix = "meta.v1";
  else
    prefix += "." + std::string(kubeapi::VersionOf(api_version));
  Json object = type;
  RETURN_IF_ERROR(Message(prefix + "." + kind, raw, 0, &object), kind);
  object["apiVersion"] = api_version;
  object["kind"] = kind;
  return object;
}

}  // namespace isthmus::lab::apiserver
