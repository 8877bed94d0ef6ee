#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"
#include "http/message.h"
#include "http/server.h"

namespace isthmus::lab::workloads {

struct Call {
  http::RequestHead head;
  std::string body;
  std::string client;  ///< Address of the peer.
};

struct Answer {
  int status = 200;
  std::string content_type = "text/html; charset=utf-8";
  std::string body;
  http::Headers headers;
};

using Reply = std::function<void(Answer)>;
/// Answers one call, at once or later. Called on the loop.
using Application = std::function<void(std::shared_ptr<const Call>, Reply)>;

/// An application on a port, with one line on standard output for each request, as web frameworks
/// print it.
class AppServer {
 public:
  AppServer(base::Loop& loop, const std::string& address, uint16_t port, Application application);
  base::Status Start() { return server_.Start(); }
  uint16_t port() const { return server_.port(); }

 private:
  http::Server server_;
};

/// What an environment variable says, or `fallback` when it is absent or empty.
std::string EnvOr(const char* name, const std::string& fallback);
std::string Hostname();
Answer Text(std::string body);
Answer JsonAnswer(std::string body, int status = 200);
Answer NotFound();

Application HelloWorld();
Application Details();
Application Ratings();
Application Reviews(base::Loop& loop);
Application ProductPage(base::Loop& loop);
Application HttpBin(base::Loop& loop);
Application Web();
Application Zipkin();

}  // namespace isthmus::lab::workloads
