#include "lab/workloads/app.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace isthmus::lab::workloads {
namespace {

constexpr size_t kLargestBody = 4 << 20;

// 127.0.0.6 - - [21/Nov/2026 13:56:00] "GET /hello HTTP/1.1" 200 -
void LogCall(const Call& call, int status) {
  char when[64];
  const time_t now = time(nullptr);
  tm parts{};
  gmtime_r(&now, &parts);
  strftime(when, sizeof when, "%d/%b/%Y %H:%M:%S", &parts);
  const std::string client = call.client.substr(0, call.client.rfind(':'));
  fmt::memory_buffer line;
  fmt::format_to(std::back_inserter(line), "{} - - [{}] \"{} {} HTTP/1.1\" {} -\n", client, when,
                 call.head.method, call.head.target, status);
  fwrite(line.data(), 1, line.size(), stdout);
  fflush(stdout);
}

void Serve(const Application& application, const std::shared_ptr<http::ServerStream>& stream) {
  stream->ReadBody(kLargestBody, [application, stream](std::string body) {
    auto call =
        std::make_shared<Call>(Call{stream->head(), std::move(body), stream->peer().address});
    application(call, [stream, call](Answer answer) {
      LogCall(*call, answer.status);
      http::Headers headers = answer.headers;
      headers.Set("content-type", answer.content_type);
      headers.Set("content-length", std::to_string(answer.body.size()));
      headers.Set("server", "isthmus-lab");
      const bool bare = call->head.method == "HEAD" || answer.body.empty();
      stream->SendHeaders(answer.status, headers, bare);
      if (!bare) stream->SendData(base::Slice(std::move(answer.body)), true);
    });
  });
}

}  // namespace

AppServer::AppServer(base::Loop& loop, const std::string& address, uint16_t port,
                     Application application)
    : server_(loop, {.address = address, .port = port},
              [application = std::move(application)](std::shared_ptr<http::ServerStream> stream) {
                Serve(application, stream);
              }) {}

std::string EnvOr(const char* name, const std::string& fallback) {
  const char* value = getenv(name);
  return value != nullptr && value[0] != '\0' ? value : fallback;
}

std::string Hostname() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

Answer Text(std::string body) { return {.body = std::move(body)}; }

Answer JsonAnswer(std::string body, int status) {
  return {.status = status, .content_type = "application/json", .body = std::move(body)};
}

Answer NotFound() { return {.status = 404, .body = "Not Found\n"}; }

}  // namespace isthmus::lab::workloads
