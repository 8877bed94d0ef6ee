#include "translate/pack.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <cstring>

namespace isthmus::translate {
namespace {

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

uint64_t Mix(uint64_t value) {
  value ^= value >> 32;
  value *= 0xd6e8feb86659fd93ULL;
  value ^= value >> 29;
  return value;
}

}  // namespace

std::string Serialize(const google::protobuf::MessageLite& message) {
  std::string bytes;
  bytes.reserve(message.ByteSizeLong());
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeWithCachedSizes(&coded);
  coded.Trim();
  return bytes;
}

void Pack(const google::protobuf::Message& message, google::protobuf::Any* any) {
  any->set_type_url("type.googleapis.com/" + message.GetDescriptor()->full_name());
  any->set_value(Serialize(message));
}

uint64_t ContentHash(std::string_view bytes) {
  uint64_t hash = 0x9e3779b97f4a7c15ULL ^ bytes.size();
  while (bytes.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data(), 8);
    hash = Mix(hash ^ word) * 0x9fb21c651e98df25ULL;
    bytes.remove_prefix(8);
  }
  uint64_t tail = 0;
  if (!bytes.empty()) std::memcpy(&tail, bytes.data(), bytes.size());
  return Mix(Mix(hash ^ tail) + 0x2545f4914f6cdd1dULL);
}

std::shared_ptr<const model::Resource> MakeResource(std::string name, std::string_view type_url,
                                                    std::string_view message) {
  std::string any;
  any.reserve(type_url.size() + message.size() + 16);
  AppendField(1, type_url, &any);
  AppendField(2, message, &any);
  auto resource = std::make_shared<model::Resource>();
  resource->name = std::move(name);
  resource->hash = ContentHash(any);
  resource->any = base::Slice(std::move(any));
  return resource;
}

std::shared_ptr<const model::Resource> MakeResource(std::string name, std::string_view type_url,
                                                    const google::protobuf::MessageLite& message) {
  return MakeResource(std::move(name), type_url, Serialize(message));
}

void AppendField(int number, std::string_view message, std::string* out) {
  AppendVarint(static_cast<uint64_t>(number) << 3 | 2, out);
  AppendVarint(message.size(), out);
  out->append(message);
}

}  // namespace isthmus::translate
