#include "ads/request.h"

#include "rpc/protobuf_wire.h"

namespace isthmus::ads {
namespace {

using base::Code;
using base::Error;
using base::Status;

// Longer than any name that the mesh makes (host names end at 253); keeps hostile subscriptions
// small.
constexpr size_t kMaxName = 4096;
constexpr size_t kMaxNames = 100'000;

// The fields of both messages, by their numbers there.
struct Fields {
  uint32_t node, type_url, names, unsubscribe, had, nonce, error;
};
constexpr Fields kSotwFields = {2, 4, 3, 0, 0, 5, 6};
constexpr Fields kDeltaFields = {1, 2, 3, 4, 5, 6, 7};

Status AddName(std::string_view name, std::vector<std::string_view>* names) {
  if (name.size() > kMaxName)
    return Error(Code::kInvalidArgument, "a resource name has {} bytes, at most {} are allowed",
                 name.size(), kMaxName);
  if (!rpc::IsUtf8(name)) return Error(Code::kInvalidArgument, "a resource name is not UTF-8");
  if (names->size() >= kMaxNames)
    return Error(Code::kResourceExhausted, "more than {} resource names in one request", kMaxNames);
  names->push_back(name);
  return {};
}

// The key of a map entry, or field 2 (message) of a google.rpc.Status.
std::string_view BytesField(std::string_view message, uint32_t field) {
  rpc::WireReader in(message);
  std::string_view found;
  while (in.Next())
    if (in.field() == field && in.is_bytes()) found = in.bytes();
  return found;
}

Status TakeField(const Fields& fields, uint32_t field, std::string_view bytes, Request* out) {
  if (field == fields.node) {
    out->has_node = true;
    out->node = bytes;
  } else if (field == fields.type_url) {
    out->type_url = bytes;
  } else if (field == fields.names) {
    return AddName(bytes, &out->names);
  } else if (field == fields.unsubscribe) {
    return AddName(bytes, &out->unsubscribe);
  } else if (field == fields.had) {
    return AddName(BytesField(bytes, 1), &out->had);
  } else if (field == fields.nonce) {
    out->nonce = bytes;
  } else if (field == fields.error) {
    out->rejected = true;
    out->error = BytesField(bytes, 2);
  }
  return {};
}

}  // namespace

base::Result<Request> ParseRequest(Protocol protocol, std::string_view bytes) {
  const Fields& fields = protocol == Protocol::kSotw ? kSotwFields : kDeltaFields;
  Request out;
  rpc::WireReader in(bytes);
  while (in.Next()) {
    if (!in.is_bytes()) continue;  // Every field of ours is; others are of newer versions.
    // Unused numbers of the table are 0, which is no field.
    Status taken = TakeField(fields, in.field(), in.bytes(), &out);
    if (!taken.ok()) return taken;
  }
  if (!in.ok())
    return Error(Code::kInvalidArgument, "discovery request is not a well-formed message");
  if (out.type_url.size() > kMaxName || !rpc::IsUtf8(out.type_url))
    return Error(Code::kInvalidArgument, "type_url is not a type URL");
  if (!rpc::IsUtf8(out.error)) out.error = "(the client's reason is not UTF-8)";
  return out;
}

}  // namespace isthmus::ads
