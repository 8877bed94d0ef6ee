#include "agent/xds_message.h"

#include "rpc/protobuf_wire.h"

namespace isthmus::agent {
namespace {

using base::Code;

// Field numbers of envoy/service/discovery/v3/discovery.proto.
struct RequestFields {
  uint32_t type_url, names, unsubscribe, initial_versions, nonce, error, version;
};
constexpr RequestFields kDeltaRequest{2, 3, 4, 5, 6, 7, 0};
constexpr RequestFields kFullRequest{4, 3, 0, 0, 5, 6, 1};
constexpr uint32_t kResponseVersion = 1, kResponseResources = 2, kResponseType = 4,
                   kResponseNonce = 5, kResponseRemoved = 6;

base::Status Malformed(std::string_view what) {
  return base::Error(Code::kInvalidArgument, "malformed {}", what);
}

std::string_view FieldOf(std::string_view message, uint32_t number) {
  std::string_view found;
  rpc::WireReader in(message);
  while (in.Next())
    if (in.field() == number && in.is_bytes()) found = in.bytes();
  return found;
}

XdsResource ReadResource(std::string_view message) {
  XdsResource resource;
  resource.whole = message;
  rpc::WireReader in(message);
  while (in.Next()) {
    if (in.field() == 1) resource.version = in.bytes();
    if (in.field() == 2) resource.any = in.bytes();
    if (in.field() == 3) resource.name = in.bytes();
  }
  return resource;
}

base::Result<XdsResponse> Parse(XdsForm form, std::string_view message, bool with_resources) {
  XdsResponse response;
  rpc::WireReader in(message);
  while (in.Next()) {
    if (!in.is_bytes()) continue;
    switch (in.field()) {
      case kResponseResources:
        if (!with_resources) break;
        if (form == XdsForm::kDelta)
          response.resources.push_back(ReadResource(in.bytes()));
        else
          response.resources.push_back({.name = {}, .version = {}, .any = in.bytes(), .whole = {}});
        break;
      case kResponseType:
        response.type_url = in.bytes();
        break;
      case kResponseNonce:
        response.nonce = in.bytes();
        break;
      case kResponseRemoved:
        if (form == XdsForm::kDelta && with_resources) response.removed.push_back(in.bytes());
        break;
      default:
        break;
    }
  }
  if (!in.ok()) return Malformed("discovery response");
  return response;
}

}  // namespace

base::Result<XdsRequest> ParseXdsRequest(XdsForm form, std::string_view message) {
  const RequestFields& f = form == XdsForm::kDelta ? kDeltaRequest : kFullRequest;
  XdsRequest request;
  rpc::WireReader in(message);
  while (in.Next()) {
    if (!in.is_bytes()) continue;
    const uint32_t number = in.field();
    if (number == f.type_url) request.type_url = in.bytes();
    if (number == f.nonce) request.nonce = in.bytes();
    if (number == f.names) request.names.push_back(in.bytes());
    if (number == f.unsubscribe) request.unsubscribe.push_back(in.bytes());
    if (number == f.initial_versions) request.had.push_back(FieldOf(in.bytes(), 1));
    if (number == f.error) {
      request.rejected = true;
      request.error = FieldOf(in.bytes(), 2);
    }
  }
  if (!in.ok()) return Malformed("discovery request");
  return request;
}

base::Result<XdsResponse> ParseXdsResponse(XdsForm form, std::string_view message) {
  return Parse(form, message, true);
}

base::Result<XdsResponse> ParseXdsResponseHead(XdsForm form, std::string_view message) {
  return Parse(form, message, false);
}

std::string_view AnyValue(std::string_view any) { return FieldOf(any, 2); }

std::string MakeAny(std::string_view type_url, std::string_view value) {
  std::string any;
  rpc::PutBytes(any, 1, type_url);
  rpc::PutBytes(any, 2, value);
  return any;
}

std::string MakeXdsRequest(XdsForm form, std::string_view type_url, std::string_view nonce,
                           std::string_view version, std::string_view error,
                           const std::vector<std::string>& names) {
  const RequestFields& f = form == XdsForm::kDelta ? kDeltaRequest : kFullRequest;
  std::string message;
  if (f.version != 0 && !version.empty()) rpc::PutBytes(message, f.version, version);
  rpc::PutBytes(message, f.type_url, type_url);
  for (const std::string& name : names) rpc::PutBytes(message, f.names, name);
  if (!nonce.empty()) rpc::PutBytes(message, f.nonce, nonce);
  if (!error.empty()) {
    std::string status;
    rpc::PutNumber(status, 1, static_cast<uint64_t>(Code::kInvalidArgument));
    rpc::PutBytes(status, 2, error);
    rpc::PutBytes(message, f.error, status);
  }
  return message;
}

std::string MakeXdsResponse(XdsForm form, std::string_view type_url, std::string_view nonce,
                            std::string_view version, const std::vector<std::string>& wholes,
                            const std::vector<std::string>& removed) {
  std::string message;
  rpc::PutBytes(message, kResponseVersion, version);
  for (const std::string& whole : wholes) rpc::PutBytes(message, kResponseResources, whole);
  rpc::PutBytes(message, kResponseType, type_url);
  rpc::PutBytes(message, kResponseNonce, nonce);
  if (form == XdsForm::kDelta)
    for (const std::string& name : removed) rpc::PutBytes(message, kResponseRemoved, name);
  return message;
}

std::string MakeResource(std::string_view name, std::string_view version, std::string_view any) {
  std::string message;
  rpc::PutBytes(message, 1, version);
  rpc::PutBytes(message, 2, any);
  rpc::PutBytes(message, 3, name);
  return message;
}

std::string InlineBytes(std::string_view bytes) {
  constexpr uint32_t kInlineBytes = 2;
  std::string source;
  rpc::PutBytes(source, kInlineBytes, bytes);
  return source;
}

}  // namespace isthmus::agent
