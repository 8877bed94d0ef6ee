#include "lab/node/probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "http/client.h"
#include "lab/network/fd_watch.h"
#include "lab/network/process.h"
#include "lab/node/container.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using Done = std::function<void(base::Status)>;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

constexpr base::Duration kEager = 200ms;

// A port is a number, or the name of one of the container's ports.
int PortOf(const Json& handler, const Json& container_spec) {
  const Json* port = kubeapi::Find(handler, {"port"});
  if (port == nullptr) return 0;
  if (port->is_number_integer()) return port->get<int>();
  if (!port->is_string()) return 0;
  const std::string name = port->get<std::string>();
  const Json* ports = kubeapi::Find(container_spec, {"ports"});
  if (ports != nullptr && ports->is_array())
    for (const Json& entry : *ports)
      if (kubeapi::StringAt(entry, {"name"}) == name)
        return static_cast<int>(kubeapi::IntAt(entry, {"containerPort"}));
  return std::atoi(name.c_str());
}

std::shared_ptr<void> Later(base::Loop& loop, base::Duration delay, base::Status status,
                            Done done) {
  return std::make_shared<base::Timer>(
      base::Timer::After(loop, delay, [status, done = std::move(done)] { done(status); }));
}

std::shared_ptr<void> HttpGet(base::Loop& loop, const Json& handler, const Json& container_spec,
                              const std::string& pod_ip, base::Duration timeout, Done done) {
  std::string host = kubeapi::StringAt(handler, {"host"});
  if (host.empty()) host = pod_ip;
  const bool tls = kubeapi::StringAt(handler, {"scheme"}) == "HTTPS";
  http::ClientOptions options;
  options.url =
      fmt::format("{}://{}:{}", tls ? "https" : "http", host, PortOf(handler, container_spec));
  options.connect_timeout = timeout;
  if (tls)
    options.tls = http::TlsClientOptions{
        .alpn = {"http/1.1"}};  // As kubelets: nobody's certificate is checked.
  http::Request request;
  request.target = kubeapi::StringAt(handler, {"path"});
  if (request.target.empty() || request.target.front() != '/')
    request.target = "/" + request.target;
  request.authority = fmt::format("{}:{}", host, PortOf(handler, container_spec));
  request.headers = {{"user-agent", "kube-probe/1.32"}, {"accept", "*/*"}, {"connection", "close"}};
  if (const Json* headers = kubeapi::Find(handler, {"httpHeaders"});
      headers != nullptr && headers->is_array())
    for (const Json& header : *headers) {
      const std::string name = kubeapi::StringAt(header, {"name"}),
                        value = kubeapi::StringAt(header, {"value"});
      if (name == "Host" || name == "host")
        request.authority = value;
      else
        request.headers.Set(name, value);
    }
  auto client = std::make_shared<http::Client>(loop, options);
  client->Fetch(std::move(request), timeout,
                [done = std::move(done)](base::Result<http::Response> response) {
                  if (!response.ok()) return done(response.status().In("HTTP probe"));
                  if (response->status >= 200 && response->status < 400) return done({});
                  done(base::Error(base::Code::kUnavailable,
                                   "HTTP probe failed with statuscode: {}", response->status));
                });
  return client;
}

// A connection that opens is all that is asked.
std::shared_ptr<void> TcpConnect(base::Loop& loop, const std::string& host, int port,
                                 base::Duration timeout, Done done) {
  struct Attempt {
    network::Fd fd;
    network::FdWatch watch;
    base::Timer timer;
  };
  auto attempt = std::make_shared<Attempt>();
  attempt->fd.Reset(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &to.sin_addr) != 1)
    return Later(loop, 0ms, base::Error(base::Code::kInvalidArgument, "\"{}\" is no address", host),
                 std::move(done));
  if (connect(attempt->fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 &&
      errno != EINPROGRESS)
    return Later(loop, 0ms,
                 base::Error(base::Code::kUnavailable, "connecting to {}:{}: {}", host, port,
                             strerror(errno)),
                 std::move(done));
  Attempt* raw = attempt.get();
  attempt->watch = network::FdWatch::Writable(loop, raw->fd.get(), [raw, host, port, done] {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(raw->fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    raw->watch.Cancel();
    raw->timer.Cancel();
    done(error == 0 ? base::Status()
                    : base::Error(base::Code::kUnavailable, "connecting to {}:{}: {}", host, port,
                                  strerror(error)));
  });
  attempt->timer = base::Timer::After(loop, timeout, [raw, host, port, done] {
    raw->watch.Cancel();
    done(base::Error(base::Code::kDeadlineExceeded, "connecting to {}:{}: no answer in time", host,
                     port));
  });
  return attempt;
}

std::shared_ptr<void> RunCommandIn(base::Loop& loop, const Json& handler,
                                   const Container& container, base::Duration timeout, Done done) {
  struct Attempt {
    Exec exec;
    network::ProcessWatch process;
    network::FdWatch output[2];
    base::Timer timer;
    std::string text;
    ~Attempt() {
      if (process.active()) kill(exec.pid, SIGKILL);
    }
  };
  ExecRequest request;
  if (const Json* command = kubeapi::Find(handler, {"command"});
      command != nullptr && command->is_array())
    for (const Json& word : *command)
      if (word.is_string()) request.command.push_back(word.get<std::string>());
  auto exec = request.command.empty()
                  ? base::Error(base::Code::kInvalidArgument, "exec.command: required")
                  : StartExec(container, request);
  if (!exec.ok()) return Later(loop, 0ms, exec.status(), std::move(done));
  auto attempt = std::make_shared<Attempt>();
  attempt->exec = std::move(*exec);
  Attempt* raw = attempt.get();
  const network::Fd* ends[] = {&raw->exec.out, &raw->exec.err};
  for (int i = 0; i < 2; ++i)
    attempt->output[i] =
        network::FdWatch::Readable(loop, ends[i]->get(), [raw, i, fd = ends[i]->get()] {
          char buffer[4096];
          const ssize_t n = read(fd, buffer, sizeof buffer);
          if (n <= 0) return raw->output[i].Cancel();
          if (raw->text.size() < 4096) raw->text.append(buffer, static_cast<size_t>(n));
        });
  attempt->process = network::ProcessWatch::Start(loop, raw->exec.pid, [raw, done](int code) {
    raw->timer.Cancel();
    done(code == 0 ? base::Status()
                   : base::Error(base::Code::kUnavailable, "command failed with exit code {}: {}",
                                 code, raw->text));
  });
  attempt->timer = base::Timer::After(loop, timeout, [raw, done] {
    // The helper's death takes the command with it; both are reaped by the watch's end.
    kill(raw->exec.pid, SIGKILL);
    done(base::Error(base::Code::kDeadlineExceeded, "command timed out"));
  });
  return attempt;
}

}  // namespace

std::shared_ptr<void> RunHandler(base::Loop& loop, const Json& handler, const Json& container_spec,
                                 const std::string& pod_ip, const Container& container,
                                 base::Duration timeout, Done done) {
  if (const Json* http = kubeapi::Find(handler, {"httpGet"}); http != nullptr)
    return HttpGet(loop, *http, container_spec, pod_ip, timeout, std::move(done));
  if (const Json* exec = kubeapi::Find(handler, {"exec"}); exec != nullptr)
    return RunCommandIn(loop, *exec, container, timeout, std::move(done));
  for (const char* kind : {"tcpSocket", "grpc"})
    if (const Json* tcp = kubeapi::Find(handler, {kind}); tcp != nullptr) {
      const std::string host = kubeapi::StringAt(*tcp, {"host"});
      return TcpConnect(loop, host.empty() ? pod_ip : host, PortOf(*tcp, container_spec), timeout,
                        std::move(done));
    }
  if (const Json* nap = kubeapi::Find(handler, {"sleep"}); nap != nullptr)
    return Later(loop, std::chrono::seconds(kubeapi::IntAt(*nap, {"seconds"})), {},
                 std::move(done));
  return Later(loop, 0ms, {}, std::move(done));
}

Probe::Probe(base::Loop& loop, Kind kind, Json spec, Json container_spec, std::string pod_ip,
             const Container& container, Events events)
    : loop_(loop),
      kind_(kind),
      spec_(std::move(spec)),
      container_spec_(std::move(container_spec)),
      pod_ip_(std::move(pod_ip)),
      container_(container),
      events_(std::move(events)),
      period_(std::chrono::seconds(
          std::max<int64_t>(1, kubeapi::IntAt(spec_, {"periodSeconds"}, 10)))) {
  // Too early a look at readiness does no harm; at liveness it would.
  const auto delay =
      kind == Kind::kLiveness
          ? base::Duration(std::chrono::seconds(kubeapi::IntAt(spec_, {"initialDelaySeconds"})))
          : base::Duration(20ms);
  timer_ = base::Timer::After(loop_, delay, [this] { Look(); });
}

void Probe::Look() {
  const auto timeout =
      std::chrono::seconds(std::max<int64_t>(1, kubeapi::IntAt(spec_, {"timeoutSeconds"}, 1)));
  running_ = RunHandler(loop_, spec_, container_spec_, pod_ip_, container_, timeout,
                        [this](const base::Status& status) { Looked(status); });
}

void Probe::Looked(const base::Status& status) {
  const bool eager = verdict_ != 1 && kind_ != Kind::kLiveness;
  const base::Duration next = eager ? std::min<base::Duration>(period_, kEager) : period_;
  timer_ = base::Timer::After(loop_, next, [this] { Look(); });
  since_counted_ += next;
  if (!status.ok() && eager && since_counted_ < period_) return;
  since_counted_ = {};
  Count(status.ok(), status.message());  // May destroy this.
}

void Probe::Count(bool success, const std::string& why) {
  const char* field = success ? "successThreshold" : "failureThreshold";
  const int64_t threshold = std::max<int64_t>(1, kubeapi::IntAt(spec_, {field}, success ? 1 : 3));
  int& count = success ? successes_ : failures_;
  (success ? failures_ : successes_) = 0;
  ++count;
  const int verdict = success ? 1 : 0;
  const bool changes = count >= threshold && verdict != verdict_;
  if (changes) verdict_ = verdict;
  if (!success) events_.unhealthy(why);
  if (changes) events_.changed(success);
}

}  // namespace isthmus::lab::node
