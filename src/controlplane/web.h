#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "http/server.h"

namespace isthmus::controlplane {

/// What a page shows. A value.
struct Page {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

/// Pages by path: "/ready" for itself, "/debug/" for all below. Anybody may ask unless `guarded`;
/// guarded pages are only for callers on this machine, such as through a port-forward. A value that
/// servers share.
class Pages {
 public:
  using Show = std::function<Page(const http::RequestHead& head)>;
  void Add(std::string path, Show show, bool guarded = false) {
    pages_[std::move(path)] = {std::move(show), guarded};
  }
  /// For http::Server.
  void Serve(const std::shared_ptr<http::ServerStream>& stream) const;

 private:
  struct Entry {
    Show show;
    bool guarded = false;
  };
  const Entry* Find(const std::string& path) const;
  std::map<std::string, Entry> pages_;
};

bool IsLoopback(std::string_view address);

/// Splits ":15012" or "1.2.3.4:80" into the server's options.
http::ServerOptions ListenOn(const std::string& address);

}  // namespace isthmus::controlplane
