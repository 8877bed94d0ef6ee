#include "ads/node.h"

#include <envoy/config/core/v3/base.pb.h>
#include <google/protobuf/arena.h>
#include <google/protobuf/util/json_util.h>

#include <cmath>

#include "base/net.h"
#include "base/strings.h"

namespace isthmus::ads {
namespace {

using base::Code;
using base::Error;
using base::Status;
using google::protobuf::Struct;
using google::protobuf::Value;

constexpr size_t kMaxId = 2048;

// Numbers and booleans as the strings they would be in an environment variable.
std::string Text(const Value& value) {
  switch (value.kind_case()) {
    case Value::kStringValue:
      return value.string_value();
    case Value::kBoolValue:
      return value.bool_value() ? "true" : "false";
    case Value::kNumberValue: {
      const double number = value.number_value();
      if (std::floor(number) == number && std::fabs(number) < 1e15)
        return std::to_string(static_cast<int64_t>(number));
      return std::to_string(number);
    }
    default:
      return "";
  }
}

std::string Text(const Struct& metadata, const char* key) {
  auto it = metadata.fields().find(key);
  return it == metadata.fields().end() ? "" : Text(it->second);
}

bool Truth(const Struct& metadata, const char* key) {
  const std::string text = Text(metadata, key);
  return text == "true" || text == "1" || text == "TRUE" || text == "True";
}

model::Labels Map(const Struct& metadata, const char* key) {
  model::Labels labels;
  auto it = metadata.fields().find(key);
  if (it == metadata.fields().end() || !it->second.has_struct_value()) return labels;
  for (const auto& [name, value] : it->second.struct_value().fields()) labels[name] = Text(value);
  return labels;
}

// A struct, or a string that is JSON already.
std::string Json(const Struct& metadata, const char* key) {
  auto it = metadata.fields().find(key);
  if (it == metadata.fields().end()) return "";
  if (!it->second.has_struct_value()) return Text(it->second);
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(it->second.struct_value(), &json).ok())
    return "";
  return json;
}

// "<type>~<ip>~<pod>.<ns>~<ns>.svc.<domain>"
Status ReadId(Node* out) {
  const std::vector<std::string_view> parts = base::Split(out->id, '~');
  if (out->id.size() > kMaxId || parts.size() != 4)
    return Error(Code::kInvalidArgument,
                 "node id '{}': expected four parts <type>~<ip>~<name>.<namespace>~<domain>",
                 out->id.substr(0, 200));
  if (parts[0] == "sidecar")
    out->proxy.type = model::ProxyType::kSidecar;
  else if (parts[0] == "router")
    out->proxy.type = model::ProxyType::kRouter;
  else
    return Error(Code::kInvalidArgument,
                 "node id '{}': proxy type '{}' is not served (sidecar, router)", out->id,
                 parts[0]);
  if (base::IsIpAddress(parts[1])) out->proxy.addresses = {std::string(parts[1])};
  out->proxy.id = parts[2];
  const size_t dot = parts[2].rfind('.');
  out->proxy.pod = parts[2].substr(0, dot);
  // The domain is "<ns>.svc.<suffix>", or whatever a client outside Kubernetes has.
  const size_t first = parts[3].find('.');
  out->proxy.ns = parts[3].substr(0, first);
  if (first != std::string::npos) {
    std::string_view rest = parts[3].substr(first + 1);
    base::ConsumePrefix(rest, "svc.");
    out->proxy.domain_suffix = rest;
  }
  return {};
}

void ReadMetadata(const Struct& metadata, Node* out) {
  model::Proxy& proxy = out->proxy;
  if (std::string ns = Text(metadata, "NAMESPACE"); !ns.empty()) proxy.ns = std::move(ns);
  out->claimed_namespace = proxy.ns;
  out->claimed_account = Text(metadata, "SERVICE_ACCOUNT");
  proxy.service_account = out->claimed_account;
  out->generator = Text(metadata, "GENERATOR");
  std::vector<std::string> addresses;
  for (std::string& address : base::SplitList(Text(metadata, "INSTANCE_IPS")))
    if (base::IsIpAddress(address)) addresses.push_back(std::move(address));
  if (!addresses.empty()) proxy.addresses = std::move(addresses);
  proxy.cluster = model::ClusterId(Text(metadata, "CLUSTER_ID"));
  proxy.network = model::NetworkId(Text(metadata, "NETWORK"));
  proxy.labels = Map(metadata, "LABELS");
  for (auto& [name, value] : Map(metadata, "STATIC_LABELS")) proxy.labels.try_emplace(name, value);
  proxy.node_name = Text(metadata, "NODE_NAME");
  proxy.version = Text(metadata, "ISTIO_VERSION");
  for (std::string& network : base::SplitList(Text(metadata, "REQUESTED_NETWORK_VIEW")))
    proxy.network_view.insert(model::NetworkId(std::move(network)));
  proxy.dns_capture = Truth(metadata, "DNS_CAPTURE");
  proxy.unprivileged = Truth(metadata, "UNPRIVILEGED_POD");
  proxy.http10 = Truth(metadata, "HTTP10");
  const std::string mode = Text(metadata, "INTERCEPTION_MODE");
  if (mode == "TPROXY") proxy.interception = model::Proxy::Interception::kTproxy;
  if (mode == "NONE") proxy.interception = model::Proxy::Interception::kNone;
  proxy.raw_proxy_config = Json(metadata, "PROXY_CONFIG");
  out->is_proxy = metadata.fields().contains("PROXY_CONFIG");
}

}  // namespace

base::Result<Node> ParseNode(std::string_view bytes) {
  google::protobuf::Arena arena;
  auto* message = google::protobuf::Arena::CreateMessage<envoy::config::core::v3::Node>(&arena);
  if (!message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Error(Code::kInvalidArgument, "node is not a well-formed message");
  Node out;
  out.id = message->id();
  if (out.id.empty()) return Error(Code::kInvalidArgument, "missing node information");
  RETURN_IF_ERROR(ReadId(&out), "reading the first request");
  ReadMetadata(message->metadata(), &out);
  const auto& locality = message->locality();
  out.proxy.locality = {locality.region(), locality.zone(), locality.sub_zone()};
  // The address is how a sidecar's own listeners and inbound clusters are found.
  if (out.proxy.addresses.empty() && out.generator.empty())
    return Error(Code::kInvalidArgument,
                 "node id '{}': no valid IP address, and none in INSTANCE_IPS", out.id);
  return out;
}

}  // namespace isthmus::ads
