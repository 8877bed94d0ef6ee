#include "agent/status_server.h"

#include "base/log.h"

namespace isthmus::agent {
namespace {

constexpr char kText[] = "text/plain; charset=utf-8";

bool IsLocal(const http::PeerInfo& peer) {
  return peer.address.starts_with("127.") || peer.address.starts_with("[::1]") ||
         peer.address.starts_with("[::ffff:127.");
}

}  // namespace

StatusServer::StatusServer(base::Loop& loop, const std::string& address, int port,
                           StatusActions actions)
    : actions_(std::move(actions)),
      server_(
          loop,
          [&] {
            http::ServerOptions options;
            options.address = address;
            options.port = static_cast<uint16_t>(port);
            return options;
          }(),
          [this](std::shared_ptr<http::ServerStream> stream) { Handle(std::move(stream)); }) {}

void StatusServer::HandleOrder(http::ServerStream& stream, const std::function<void()>& order) {
  if (!IsLocal(stream.peer()))
    return stream.Respond(403, kText, "only requests from this pod are allowed\n");
  if (stream.head().method != "POST") return stream.Respond(405, kText, "use POST\n");
  stream.Respond(200, kText, "OK\n");
  order();
}

void StatusServer::Handle(std::shared_ptr<http::ServerStream> stream) {
  const std::string path = stream->head().path();
  if (path == "/healthz/ready") {
    actions_.readiness.Check([stream](const std::string& why) {
      if (!why.empty()) LOG_WARN("default", "Envoy proxy is NOT ready: {}", why);
      stream->Respond(why.empty() ? 200 : 503, kText, why.empty() ? "" : why + "\n");
    });
  } else if (path == "/stats/prometheus" || path == "/metrics") {
    const std::string& target = stream->head().target;
    const size_t mark = target.find('?');
    actions_.metrics.Collect(
        mark == target.npos ? "" : target.substr(mark + 1), [stream](std::string text) {
          stream->Respond(200, "text/plain; version=0.0.4; charset=utf-8", std::move(text));
        });
  } else if (path.starts_with("/app-health/") || path.starts_with("/app-lifecycle/")) {
    actions_.prober.Run(path, stream->head().headers, [stream](int status, std::string body) {
      stream->Respond(status, kText, std::move(body));
    });
  } else if (path == "/quitquitquit") {
    HandleOrder(*stream, actions_.quit);
  } else if (path == "/drain") {
    HandleOrder(*stream, actions_.drain);
  } else if (path == "/debug/ndsz") {
    if (!IsLocal(stream->peer()))
      return stream->Respond(403, kText, "only requests from this pod are allowed\n");
    const std::shared_ptr<const NameTable> table = actions_.name_table();
    stream->Respond(table == nullptr ? 404 : 200, "application/json",
                    table == nullptr ? "{}\n" : table->ToJson() + "\n");
  } else {
    stream->Respond(404, kText, "not found\n");
  }
}

}  // namespace isthmus::agent
