#pragma once

#include <envoy/service/discovery/v3/discovery.pb.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ads/stream.h"
#include "ads/type_url.h"

namespace isthmus::ads {

using Names = std::vector<std::string>;

/// A resource whose body is `text`, as translation would make it.
inline ResourcePtr MakeResource(const std::string& name, const std::string& text) {
  google::protobuf::Any any;
  any.set_type_url("type.googleapis.com/test");
  any.set_value(text);
  auto resource = std::make_shared<model::Resource>();
  resource->name = name;
  resource->any = base::Slice(any.SerializeAsString());
  resource->hash = std::hash<std::string>()(text);
  return resource;
}

inline SetPtr MakeSet(const std::vector<std::pair<std::string, std::string>>& resources) {
  std::vector<ResourcePtr> all;
  for (const auto& [name, text] : resources) all.push_back(MakeResource(name, text));
  return std::make_shared<const model::ResourceSet>(std::move(all));
}

/// A ViewSource whose view is set by hand.
class FakeViews final : public ViewSource {
 public:
  std::shared_ptr<const model::View> ViewFor(const model::Proxy& proxy) override { return view; }
  void Set(std::string_view type, Sets sets) {
    auto next = std::make_shared<model::View>(view == nullptr ? model::View() : *view);
    ++next->version;
    next->types[std::string(type)] = std::move(sets);
    view = next;
  }
  std::shared_ptr<const model::View> view;
};

/// One response as the client sees it.
struct Response {
  std::string type;
  std::string version;
  std::string nonce;
  std::map<std::string, std::string> resources;  ///< Delta: by name. State of the world: by text.
  std::set<std::string> removed;
};

/// A client of one stream without a transport: keeps what it was sent, parsed by protobuf.
class FakeClient final : public Sink {
 public:
  FakeClient(StreamContext& context, Protocol protocol) : stream(context, *this, protocol) {}

  void Send(std::vector<base::Slice> parts) override {
    std::string bytes;
    for (const base::Slice& part : parts) bytes += part.view();
    Response got;
    if (stream.protocol() == Protocol::kDelta) {
      envoy::service::discovery::v3::DeltaDiscoveryResponse message;
      if (!message.ParseFromString(bytes)) std::abort();
      got = {message.type_url(), message.system_version_info(), message.nonce(), {}, {}};
      for (const auto& each : message.resources())
        got.resources[each.name()] = each.resource().value();
      for (const auto& name : message.removed_resources()) got.removed.insert(name);
    } else {
      envoy::service::discovery::v3::DiscoveryResponse message;
      if (!message.ParseFromString(bytes)) std::abort();
      got = {message.type_url(), message.version_info(), message.nonce(), {}, {}};
      for (const auto& each : message.resources()) got.resources[each.value()] = each.value();
    }
    responses.push_back(std::move(got));
  }
  size_t buffered() const override { return stuck; }

  /// Asks; the node goes with the first request only.
  base::Status Ask(std::string_view type, const Names& names = {}, const Names& unsubscribe = {},
                   const std::string& nonce = {}, const Names& had = {},
                   const std::string& error = {}) {
    std::string bytes;
    if (stream.protocol() == Protocol::kDelta) {
      envoy::service::discovery::v3::DeltaDiscoveryRequest request;
      Fill(request, type, nonce, error);
      for (const auto& name : names) request.add_resource_names_subscribe(name);
      for (const auto& name : unsubscribe) request.add_resource_names_unsubscribe(name);
      for (const auto& name : had) (*request.mutable_initial_resource_versions())[name] = "";
      bytes = request.SerializeAsString();
    } else {
      envoy::service::discovery::v3::DiscoveryRequest request;
      Fill(request, type, nonce, error);
      for (const auto& name : names) request.add_resource_names(name);
      bytes = request.SerializeAsString();
    }
    base::Status status = stream.OnMessage(bytes, [this](const Node&) { return admit; });
    if (status.ok()) stream.Pump();
    return status;
  }
  /// Acknowledges the last response of the type, in state of the world with the names it wants.
  base::Status Ack(std::string_view type, const Names& names = {}) {
    return Ask(type, stream.protocol() == Protocol::kSotw ? names : Names(), {}, LastNonce(type));
  }
  base::Status Nack(std::string_view type, const std::string& why, const Names& names = {}) {
    return Ask(type, stream.protocol() == Protocol::kSotw ? names : Names(), {}, LastNonce(type),
               {}, why);
  }
  std::string LastNonce(std::string_view type) const {
    for (auto it = responses.rbegin(); it != responses.rend(); ++it)
      if (it->type == type) return it->nonce;
    return last_nonces.contains(std::string(type)) ? last_nonces.at(std::string(type)) : "";
  }
  /// The responses since the last call.
  std::vector<Response> Take() {
    for (const Response& each : responses) last_nonces[each.type] = each.nonce;
    return std::exchange(responses, {});
  }
  Response TakeOne() {
    auto all = Take();
    return all.size() == 1 ? all[0] : Response{"(" + std::to_string(all.size()) + " responses)"};
  }

  Stream stream;
  std::vector<Response> responses;
  std::map<std::string, std::string> last_nonces;
  size_t stuck = 0;
  base::Status admit;
  std::string node_id = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local";

 private:
  template <typename R>
  void Fill(R& request, std::string_view type, const std::string& nonce, const std::string& error) {
    if (!stream.started()) request.mutable_node()->set_id(node_id);
    request.set_type_url(std::string(type));
    request.set_response_nonce(nonce);
    if (error.empty()) return;
    request.mutable_error_detail()->set_code(13);
    request.mutable_error_detail()->set_message(error);
  }
};

}  // namespace isthmus::ads
