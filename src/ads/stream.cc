#include "ads/stream.h"

#include <algorithm>
#include <iterator>

#include "ads/type_url.h"
#include "base/log.h"
#include "rpc/protobuf_wire.h"

namespace isthmus::ads {
namespace {

using base::Code;
using base::Error;
using base::Status;

// Envoy and its agent use about ten types.
constexpr size_t kMaxTypes = 32;
// In all subscriptions of one stream together.
constexpr size_t kMaxNamesOfStream = 200'000;

const Sets& SetsOf(const model::View* view, std::string_view type_url) {
  static const Sets kNone;
  if (view == nullptr) return kNone;
  auto it = view->types.find(type_url);
  return it == view->types.end() ? kNone : it->second;
}

}  // namespace

Stream::Stream(StreamContext& context, Sink& sink, Protocol protocol)
    : context_(context), sink_(sink), protocol_(protocol) {}

Subscription* Stream::Find(std::string_view type_url) {
  for (const auto& subscription : subscriptions_)
    if (subscription->type_url() == type_url) return subscription.get();
  return nullptr;
}

Status Stream::OnMessage(std::string_view bytes, const Admit& admit) {
  ++context_.stats.requests;
  ASSIGN_OR_RETURN(const Request request, ParseRequest(protocol_, bytes), "reading a request");
  if (!node_) {
    // Health reports may overtake the announcement of the node.
    if (request.type_url == kHealthType) return {};
    if (!request.has_node) return Error(Code::kInvalidArgument, "missing node information");
    ASSIGN_OR_RETURN(Node node, ParseNode(request.node), "reading the node");
    RETURN_IF_ERROR(admit(node), "authorization failed");
    node_ = std::move(node);
  }
  if (request.type_url == kHealthType) return {};
  if (request.type_url.empty()) return Error(Code::kInvalidArgument, "type_url is missing");
  if (IsDebugType(request.type_url)) return OnDebug(request);

  Subscription* subscription = Find(request.type_url);
  const bool is_new = subscription == nullptr;
  if (is_new) {
    if (subscriptions_.size() >= kMaxTypes)
      return Error(Code::kResourceExhausted, "more than {} types on one stream", kMaxTypes);
    auto made = std::make_unique<Subscription>(protocol_, request.type_url, context_.names);
    subscription = made.get();
    const int place = PushOrder(request.type_url);
    auto at = std::ranges::find_if(subscriptions_, [place](const auto& other) {
      return PushOrder(other->type_url()) > place;
    });
    subscriptions_.insert(at, std::move(made));
  }
  const auto outcome = subscription->Handle(request, context_.names, context_.clock.Now());
  size_t names = 0;
  for (const auto& each : subscriptions_) names += each->interest().names->size();
  if (names > kMaxNamesOfStream)
    return Error(Code::kResourceExhausted, "more than {} resource names on one stream",
                 kMaxNamesOfStream);
  switch (outcome) {
    case Subscription::Outcome::kRejected:
      ++context_.stats.rejects[PushOrder(request.type_url)];
      LOG_WARN("ads", "{}: {} rejected: {}", node_->proxy.id, ShortName(request.type_url),
               subscription->error());
      break;
    case Subscription::Outcome::kStale:
      ++context_.stats.stale;
      break;
    case Subscription::Outcome::kUnsubscribed:
      std::erase_if(subscriptions_, [&](const auto& each) { return each.get() == subscription; });
      break;
    case Subscription::Outcome::kAsks:
      // A client that starts on its clusters again waits for all of their endpoints too.
      if (request.type_url == kClusterType && subscription->owes_all()) OweEndpoints(nullptr);
      break;
    case Subscription::Outcome::kAcked:
      break;
  }
  return {};
}

Status Stream::OnDebug(const Request& request) {
  if (context_.debug == nullptr)
    return Error(Code::kUnimplemented, "debug types are not served here");
  // The client's acknowledgement of an answer asks for nothing.
  if (!request.nonce.empty()) return {};
  ASSIGN_OR_RETURN(const std::vector<base::Slice> answer, context_.debug->Answer(request, *this),
                   request.type_url);
  std::vector<ResourcePtr> resources;
  resources.reserve(answer.size());
  for (const base::Slice& any : answer) {
    auto resource = std::make_shared<model::Resource>();
    resource->any = any;
    resources.push_back(std::move(resource));
  }
  const Payload payload = Frame(protocol_, resources, {});
  std::vector<base::Slice> parts;
  parts.reserve(payload.parts.size() + 2);
  parts.push_back(
      ResponseHead(protocol_, context_.version, request.type_url, context_.control_plane));
  parts.insert(parts.end(), payload.parts.begin(), payload.parts.end());
  parts.push_back(ResponseTail(protocol_, context_.version + context_.make_nonce()));
  sink_.Send(std::move(parts));
  return {};
}

void Stream::Pump() {
  if (!node_ || subscriptions_.empty() || sink_.buffered() > 0) return;
  const std::shared_ptr<const model::View> view = context_.views.ViewFor(node_->proxy);
  if (view == nullptr) return;
  bool clusters_wait = false;
  for (const auto& subscription : subscriptions_) {
    if (!NeedsPush(*subscription, *view)) {
      subscription->Current(view);  // Lets go of what the older view holds besides.
      continue;
    }
    const std::string_view type = subscription->type_url();
    if (!subscription->owes() && subscription->waiting()) {
      clusters_wait |= type == kClusterType;
      continue;
    }
    // Listeners and routes may name clusters that the client has not taken yet.
    if (!subscription->owes() && clusters_wait && type != kEndpointType) continue;
    PumpType(*subscription, view);
  }
}

bool Stream::NeedsPush(const Subscription& subscription, const model::View& view) const {
  if (subscription.owes()) return true;
  const std::string_view type = subscription.type_url();
  return SetsOf(subscription.sent_view().get(), type) != SetsOf(&view, type);
}

Payload Stream::Due(Subscription& subscription, const model::View& view, NameList* differing) {
  const std::string_view type = subscription.type_url();
  // Keys are for those who have proved who they are.
  const model::View* seen = type == kSecretType && verified_ns_.empty() ? nullptr : &view;
  const Sets& now = SetsOf(seen, type);
  if (subscription.owes_all())
    return context_.payloads.Whole(protocol_, type, now, subscription.interest());
  const model::View* had = seen == nullptr ? nullptr : subscription.sent_view().get();
  const Sets& before = SetsOf(had, type);
  if (before != now) {
    const PayloadMaker::Update& update =
        context_.payloads.Changes(protocol_, type, before, now, subscription.interest());
    *differing = update.names;
    if (subscription.owed().empty()) return update.payload;
  }
  NameList names = *differing;
  names.insert(names.end(), subscription.owed().begin(), subscription.owed().end());
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (names.empty()) return {};
  if (protocol_ == Protocol::kSotw && subscription.interest().wildcard)
    return context_.payloads.Whole(protocol_, type, now, subscription.interest());
  return context_.payloads.Named(protocol_, type, now, names);
}

void Stream::PumpType(Subscription& subscription, const std::shared_ptr<const model::View>& view) {
  NameList differing;
  const Payload payload = Due(subscription, *view, &differing);
  if (payload.empty() && !subscription.owes()) return subscription.Current(view);
  if (subscription.type_url() == kClusterType && !differing.empty()) {
    // A changed cluster starts anew and waits for its endpoints, though they are as before.
    std::erase_if(differing, [&](const std::string& name) {
      return FindIn(SetsOf(view.get(), kClusterType), name) == nullptr;
    });
    OweEndpoints(&differing);
  }
  Send(subscription, payload, view);
}

void Stream::OweEndpoints(const NameList* clusters) {
  Subscription* endpoints = Find(kEndpointType);
  if (endpoints == nullptr) return;
  if (clusters == nullptr)
    endpoints->OweAll();
  else
    endpoints->Owe(*clusters);
}

void Stream::Send(Subscription& subscription, const Payload& payload,
                  const std::shared_ptr<const model::View>& view) {
  std::string nonce = context_.version + context_.make_nonce();
  std::vector<base::Slice> parts;
  parts.reserve(payload.parts.size() + 2);
  parts.push_back(ResponseHead(protocol_, context_.version, subscription.type_url(), {}));
  parts.insert(parts.end(), payload.parts.begin(), payload.parts.end());
  parts.push_back(ResponseTail(protocol_, nonce));
  subscription.sent_bytes = payload.bytes;
  subscription.Sent(view, std::move(nonce), context_.clock.Now());
  ++context_.stats.pushes[PushOrder(subscription.type_url())];
  context_.stats.sent_bytes += payload.bytes;
  sink_.Send(std::move(parts));
}

bool Stream::Settled() const {
  return node_.has_value() && sink_.buffered() == 0 &&
         std::ranges::none_of(subscriptions_,
                              [](const auto& each) { return each->owes() || each->waiting(); });
}

}  // namespace isthmus::ads
