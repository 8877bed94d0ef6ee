#include "controlplane/web.h"

#include "base/net.h"

namespace isthmus::controlplane {

bool IsLoopback(std::string_view address) {
  return address.starts_with("127.") || address.starts_with("[::1]") ||
         address.starts_with("::1") || address.starts_with("/");
}

const Pages::Entry* Pages::Find(const std::string& path) const {
  auto exact = pages_.find(path);
  if (exact != pages_.end()) return &exact->second;
  const Entry* best = nullptr;
  size_t longest = 0;
  for (const auto& [prefix, entry] : pages_) {
    if (!prefix.ends_with('/') || !path.starts_with(prefix) || prefix.size() < longest) continue;
    best = &entry;
    longest = prefix.size();
  }
  return best;
}

void Pages::Serve(const std::shared_ptr<http::ServerStream>& stream) const {
  const http::RequestHead& head = stream->head();
  const Entry* entry = Find(head.path());
  if (entry == nullptr)
    return stream->Respond(404, "text/plain; charset=utf-8", "404 page not found\n");
  if (head.method != "GET" && head.method != "HEAD")
    return stream->Respond(405, "text/plain; charset=utf-8", "only GET is served here\n");
  if (entry->guarded && !IsLoopback(stream->peer().address))
    return stream->Respond(
        401, "text/plain; charset=utf-8",
        "debug pages are for this machine only; use istioctl, or kubectl port-forward\n");
  Page page = entry->show(head);
  stream->Respond(page.status, page.content_type, std::move(page.body));
}

http::ServerOptions ListenOn(const std::string& address) {
  http::ServerOptions options;
  const std::string with_host = address.starts_with(':') ? "0.0.0.0" + address : address;
  const auto parsed = base::HostPort::Parse(with_host);
  if (parsed.ok()) {
    options.address = parsed->host == "localhost" ? "127.0.0.1" : parsed->host;
    options.port = parsed->port;
  }
  return options;
}

}  // namespace isthmus::controlplane
