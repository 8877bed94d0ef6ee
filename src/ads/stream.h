#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ads/node.h"
#include "ads/payload.h"
#include "ads/request.h"
#include "ads/subscription.h"
#include "ads/view_source.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/slice.h"

namespace isthmus::ads {

/// Where a stream's responses go.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void Send(std::vector<base::Slice> parts) = 0;
  /// Bytes that have not been written out yet.
  virtual size_t buffered() const = 0;
};

class Stream;

/// Answers the debug types (istio.io/debug...) for a stream. Lives on the ADS loop.
class DebugAnswerer {
 public:
  virtual ~DebugAnswerer() = default;
  /// The resources of the answer as serialised google.protobuf.Any. An error ends the stream.
  virtual base::Result<std::vector<base::Slice>> Answer(const Request& request,
                                                        const Stream& caller) = 0;
};

/// Counters of all streams; printed by the control plane's metrics.
struct Stats {
  uint64_t requests = 0;
  uint64_t pushes[6] = {};  ///< By PushOrder().
  uint64_t rejects[6] = {};
  uint64_t stale = 0;
  uint64_t sent_bytes = 0;
};

/// What all streams of a server share. Outlives them.
struct StreamContext {
  ViewSource& views;
  const base::Clock& clock;
  NameInterner names;
  PayloadMaker payloads;
  DebugAnswerer* debug = nullptr;
  std::string version;        ///< Of the newest push: "<RFC 3339>/<n>".
  std::string control_plane;  ///< JSON for control_plane.identifier, in answers to debug types.
  std::function<std::string()> make_nonce;  ///< The random part.
  Stats stats;
};

/// The whole protocol of one ADS stream, apart from its transport. A request changes the state of
/// its subscription; Pump() sends what is due: answers owed, then what has changed since the last
/// response of each type. One unwritten response holds all further ones back, and an unanswered one
/// holds back pushes of its type; what happens meanwhile adds nothing to a queue, since Pump()
/// always sends the newest state. Lives on the ADS loop.
class Stream {
 public:
  Stream(StreamContext& context, Sink& sink, Protocol protocol);

  /// Checks of the first request, once the node is known; an error ends the stream.
  using Admit = std::function<base::Status(const Node&)>;
  /// One message of the client. An error ends the stream with it.
  base::Status OnMessage(std::string_view bytes, const Admit& admit);
  /// REQUIRES: called after OnMessage(), when the view may have changed, and when the sink has
  /// drained.
  void Pump();

  bool started() const { return node_.has_value(); }
  const Node& node() const { return *node_; }  ///< REQUIRES: started().
  Protocol protocol() const { return protocol_; }
  /// Namespace of the identity that the client has proved; empty when it has proved none.
  const std::string& verified_ns() const { return verified_ns_; }
  void SetVerifiedNamespace(std::string ns) { verified_ns_ = std::move(ns); }
  /// Whether it came over loopback to the plaintext port, which only this machine's admin can.
  bool local() const { return local_; }
  void SetLocal(bool local) { local_ = local; }
  /// In push order.
  const std::vector<std::unique_ptr<Subscription>>& subscriptions() const { return subscriptions_; }
  /// The client has everything there is, and has said so.
  bool Settled() const;

 private:
  Subscription* Find(std::string_view type_url);
  base::Status OnDebug(const Request& request);
  /// What the subscription is to be sent now, given the newest view.
  Payload Due(Subscription& subscription, const model::View& view, NameList* differing);
  bool NeedsPush(const Subscription& subscription, const model::View& view) const;
  /// Sends what is due of one type, if anything.
  void PumpType(Subscription& subscription, const std::shared_ptr<const model::View>& view);
  void Send(Subscription& subscription, const Payload& payload,
            const std::shared_ptr<const model::View>& view);
  /// The client may start on clusters that it got; their endpoints must follow.
  void OweEndpoints(const NameList* clusters);

  StreamContext& context_;
  Sink& sink_;
  const Protocol protocol_;
  std::optional<Node> node_;
  std::string verified_ns_;
  bool local_ = false;
  std::vector<std::unique_ptr<Subscription>> subscriptions_;
};

}  // namespace isthmus::ads
