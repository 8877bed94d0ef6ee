#include "kubeclient/pod_exec.h"

#include <fmt/format.h>

#include <utility>

#include "base/strings.h"
#include "http/websocket.h"
#include "kubeapi/resources.h"

namespace isthmus::kubeclient {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using kubeapi::StringAt;

/// Channels of Kubernetes' remote command protocol: the first byte of each message.
enum ExecChannel : char { kOut = 1, kErr = 2, kResult = 3 };

std::string TargetOf(const ExecRequest& request) {
  std::string target =
      kubeapi::kPods.Path(http::UrlEncode(request.ns), http::UrlEncode(request.pod)) +
      "/exec?stdout=true&stderr=true";
  if (!request.container.empty()) target += "&container=" + http::UrlEncode(request.container);
  for (const std::string& word : request.argv) target += "&command=" + http::UrlEncode(word);
  return target;
}

/// The exit code that a result speaks of; -1 when the command did not run to its end.
int ExitCodeOf(const Json& status) {
  if (StringAt(status, {"status"}) == "Success") return 0;
  for (const Json& cause : kubeapi::ItemsAt(status, {"details", "causes"}))
    if (StringAt(cause, {"reason"}) == "ExitCode")
      if (const auto code = base::ParseInt(StringAt(cause, {"message"})); code.ok())
        return static_cast<int>(*code);
  return -1;
}

}  // namespace

struct PodExec::Impl : std::enable_shared_from_this<PodExec::Impl> {
  Impl(base::Loop& l, ExecRequest r, std::function<void(Result<ExecOutcome>)> d)
      : loop(l), request(std::move(r)), done(std::move(d)) {}

  base::Loop& loop;
  const ExecRequest request;
  std::function<void(Result<ExecOutcome>)> done;
  std::unique_ptr<http::WebSocket> socket;
  ExecOutcome outcome;
  std::string result;
  base::Timer idle;

  void Heard() {
    idle = base::Timer::After(loop, request.idle_timeout, [weak = weak_from_this()] {
      if (auto self = weak.lock())
        self->Finish(Status(Code::kDeadlineExceeded, "nothing was heard of it in time"));
    });
  }

  void Start(Client& client) {
    Heard();
    http::RequestHead head =
        http::WebSocketRequest(TargetOf(request), {"v5.channel.k8s.io", "v4.channel.k8s.io"});
    client.Upgrade(head, [weak = weak_from_this(), head](auto upgraded) {
      auto self = weak.lock();
      if (self == nullptr || !self->done) return;
      if (!upgraded.ok()) return self->Finish(upgraded.status());
      if (const Status answer = http::CheckWebSocketAnswer(head, upgraded->first); !answer.ok())
        return self->Finish(answer);
      self->Attach(std::move(upgraded->second));
    });
  }

  void Attach(std::unique_ptr<http::ByteStream> stream) {
    socket = std::make_unique<http::WebSocket>(std::move(stream), http::WebSocket::Role::kClient);
    socket->OnMessage([weak = weak_from_this()](std::string_view message, bool) {
      if (auto self = weak.lock(); self && self->done) self->OnMessage(message);
    });
    socket->OnClose([weak = weak_from_this()](const Status& reason) {
      if (auto self = weak.lock(); self && self->done) self->OnClose(reason);
    });
  }

  void OnMessage(std::string_view message) {
    Heard();
    if (message.empty()) return;
    const std::string_view data = message.substr(1);
    if (message[0] == kOut)
      outcome.out += data;
    else if (message[0] == kErr)
      outcome.err += data;
    else if (message[0] == kResult)
      result += data;
  }

  void OnClose(const Status& reason) {
    if (result.empty()) {
      // Servers that send no result end in order; otherwise the command was cut off.
      return reason.ok() ? Finish(std::move(outcome)) : Finish(reason);
    }
    const auto status = kubeapi::ParseJson(result);
    if (!status.ok()) return Finish(status.status().In("result of the command"));
    outcome.exit_code = ExitCodeOf(*status);
    if (outcome.exit_code >= 0) return Finish(std::move(outcome));
    Finish(Error(Code::kInternal, "{}", StringAt(*status, {"message"})));
  }

  void Finish(Result<ExecOutcome> answer) {
    idle.Cancel();
    const auto callback = std::exchange(done, nullptr);
    if (!callback) return;
    callback(answer.ok() ? std::move(answer)
                         : Result<ExecOutcome>(answer.status().In(fmt::format(
                               "running {} in {}/{}", request.argv.empty() ? "" : request.argv[0],
                               request.ns, request.pod))));
  }
};

PodExec::PodExec(base::Loop& loop, Client& client, ExecRequest request,
                 std::function<void(Result<ExecOutcome>)> done)
    : impl_(std::make_shared<Impl>(loop, std::move(request), std::move(done))) {
  impl_->Start(client);
}

PodExec::~PodExec() {
  impl_->done = nullptr;
  impl_->idle.Cancel();
  // Not the socket itself: its callback may be what destroys us.
  if (impl_->socket) impl_->socket->Close();
}

}  // namespace isthmus::kubeclient
