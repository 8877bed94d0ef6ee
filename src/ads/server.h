#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ads/authenticator.h"
#include "ads/stream.h"
#include "ads/view_source.h"
#include "base/clock.h"
#include "base/loop.h"
#include "rpc/server.h"

namespace isthmus::ads {

struct ServerOptions {
  /// Whether the caller's identity must fit its node (PILOT_ENABLE_XDS_IDENTITY_CHECK).
  bool check_identity = true;
  /// JSON that names this server in answers to debug types; istioctl prints the version in it.
  std::string control_plane;
  /// After so long (give or take a tenth) a stream is ended, so that its client authenticates again
  /// and load spreads over new replicas. Zero: never.
  base::Duration max_stream_age{};
};

/// A stream as debug output shows it. Borrowed: valid until the loop goes on.
struct Connection {
  std::string id;  ///< "<pod>.<ns>-<n>"
  std::string peer;
  base::Time connected;
  const Stream* stream = nullptr;
};

/// The aggregated discovery service on gRPC: makes a Stream of each call, lets in who may, and
/// pushes to all when views change. Pushes are not delayed or queued: each stream that can take
/// something gets the newest state at once, the others when they can. Lives on its loop.
class Server {
 public:
  Server(base::Loop& loop, ViewSource& views, const base::Clock& clock, ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Serves both forms on the router's server. Without an authenticator callers have no identity
  /// (plaintext).
  void AddTo(rpc::Router& router, Authenticator* authenticator);
  /// One call of one form; AddTo() leads calls here.
  void Serve(std::shared_ptr<rpc::ServerCall> call, Protocol protocol,
             Authenticator* authenticator);
  void SetDebug(DebugAnswerer* debug);

  /// Until it is true, streams are refused as UNAVAILABLE.
  void SetReady(bool ready);
  /// The views may differ from what they were: brings every stream up to date.
  void Changed();
  /// Ends every stream, so that clients go elsewhere.
  void CloseAll(const base::Status& why);
  /// Ends the streams of some proxies.
  void CloseProxies(const std::function<bool(const model::Proxy&)>& which, const base::Status& why);
  /// Whether such a proxy is connected.
  bool HasProxy(const std::function<bool(const model::Proxy&)>& which) const;

  std::vector<Connection> connections() const;
  size_t connection_count() const;
  /// The newest stream of the proxy "<pod>.<ns>" that has subscriptions, or null.
  const Stream* FindProxy(std::string_view id) const;
  const Stats& stats() const;
  /// Of the newest push: "<RFC 3339>/<n>".
  const std::string& version() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::ads
