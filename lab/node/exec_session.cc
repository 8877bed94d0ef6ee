#include "lab/node/exec_session.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kubeapi/json.h"
#include "lab/network/fd_stream.h"
#include "lab/network/process.h"
#include "lab/node/container_init.h"

namespace isthmus::lab::node {
namespace {

using network::FdStream;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

// A resize message: {"Width":80,"Height":24}.
bool ParseSize(std::string_view text, winsize* size) {
  auto json = kubeapi::ParseJson(text);
  if (!json.ok()) return false;
  size->ws_col = static_cast<unsigned short>(kubeapi::IntAt(*json, {"Width"}));
  size->ws_row = static_cast<unsigned short>(kubeapi::IntAt(*json, {"Height"}));
  return size->ws_col > 0 && size->ws_row > 0;
}

// Holds itself by `self_` from its start to its end; the end comes from the loop, so that no
// callback of a part runs in a part that is gone.
class ExecSession {
 public:
  static void Start(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
                    const Container& container, const RemoteRequest& request,
                    std::vector<std::string> command) {
    auto session = std::make_shared<ExecSession>(loop, request);
    ExecSession* raw = session.get();
    raw->remote_ = RemoteStreams::Accept(
        loop, stream, request,
        {.ready = [raw] { raw->Ready(); },
         .data = [raw](Channel channel,
                       std::string_view bytes) { raw->FromClient(channel, bytes); },
         .ended = [raw](Channel channel) { raw->ClientEnded(channel); },
         .closed = [raw] { raw->End(); },
         .drained = [raw] { raw->PauseOutput(false); }});
    if (raw->remote_ == nullptr) return;
    raw->self_ = session;
    raw->container_ =
        std::make_unique<Snapshot>(Snapshot{container.program(), container.dir(), container.pid()});
    raw->command_ = std::move(command);
  }

  ExecSession(base::Loop& loop, const RemoteRequest& request) : loop_(loop), request_(request) {}
  ~ExecSession() {
    if (process_.active()) kill(pid_, SIGKILL);
  }

 private:
  // What is needed of the container, which may be gone when the client is ready.
  struct Snapshot {
    std::string program, dir;
    int pid;
  };

  void Ready();
  void WatchStreams(Exec& exec);
  void TakeTerminal();
  void FromClient(Channel channel, std::string_view bytes);
  void ClientEnded(Channel channel);
  void FromCommand(Channel channel, std::string_view bytes);
  void OutputEnded();
  void PauseOutput(bool pause);
  void Exited(int code);
  void Finish();
  void End() {
    // From the loop: this is called out of parts of the session.
    loop_.Post([self = std::exchange(self_, nullptr)] {});
  }

  base::Loop& loop_;
  const RemoteRequest request_;
  std::shared_ptr<ExecSession> self_;
  std::unique_ptr<Snapshot> container_;
  std::vector<std::string> command_;
  std::unique_ptr<RemoteStreams> remote_;
  std::unique_ptr<FdStream> in_, out_, err_;
  network::Fd terminal_socket_;
  network::FdWatch terminal_watch_;
  network::ProcessWatch process_;
  base::Timer linger_;
  std::string early_input_;
  int pid_ = 0;
  int open_outputs_ = 0;
  int exit_code_ = -1;
  winsize size_{};
  bool finished_ = false;
};

void ExecSession::Ready() {
  auto exec = StartExec(container_->program, container_->dir, container_->pid,
                        {.command = command_, .tty = request_.tty, .in = request_.in});
  if (!exec.ok()) {
    remote_->Finish(1, exec.status().message());
    return End();
  }
  pid_ = exec->pid;
  process_ = network::ProcessWatch::Start(loop_, pid_, [this](int code) { Exited(code); });
  WatchStreams(*exec);
}

void ExecSession::WatchStreams(Exec& exec) {
  auto reader = [this](network::Fd fd, Channel channel) {
    ++open_outputs_;
    return std::make_unique<FdStream>(
        loop_, std::move(fd),
        FdStream::Events{
            .data = [this, channel](std::string_view bytes) { FromCommand(channel, bytes); },
            .end = [this] { OutputEnded(); }});
  };
  err_ = reader(std::move(exec.err), request_.tty ? kStdout : kStderr);
  if (request_.tty) {
    ++open_outputs_;  // The terminal that is to come.
    terminal_socket_ = std::move(exec.terminal_socket);
    terminal_watch_ =
        network::FdWatch::Readable(loop_, terminal_socket_.get(), [this] { TakeTerminal(); });
    return;
  }
  out_ = reader(std::move(exec.out), kStdout);
  if (exec.in.valid())
    in_ = std::make_unique<FdStream>(loop_, std::move(exec.in), FdStream::Events{});
}

void ExecSession::TakeTerminal() {
  terminal_watch_.Cancel();
  network::Fd terminal = ReceiveTerminal(terminal_socket_);
  if (!terminal.valid()) return OutputEnded();
  if (size_.ws_col != 0) ioctl(terminal.get(), TIOCSWINSZ, &size_);
  out_ = std::make_unique<FdStream>(
      loop_, std::move(terminal),
      FdStream::Events{.data = [this](std::string_view bytes) { FromCommand(kStdout, bytes); },
                       .end = [this] { OutputEnded(); }});
  out_->Write(early_input_);
  early_input_.clear();
}

void ExecSession::FromClient(Channel channel, std::string_view bytes) {
  if (channel == kStdin) {
    if (request_.tty && out_ == nullptr)
      early_input_ += bytes;
    else if (request_.tty)
      out_->Write(bytes);
    else if (in_ != nullptr)
      in_->Write(bytes);
  } else if (channel == kResize && ParseSize(bytes, &size_) && out_ != nullptr) {
    ioctl(out_->fd(), TIOCSWINSZ, &size_);
  }
}

void ExecSession::ClientEnded(Channel channel) {
  if (channel == kStdin && in_ != nullptr) in_->FinishWriting();
}

void ExecSession::FromCommand(Channel channel, std::string_view bytes) {
  remote_->Send(channel, bytes);
  if (remote_->buffered() > kMostUnsent) PauseOutput(true);
}

void ExecSession::PauseOutput(bool pause) {
  if (out_ != nullptr) out_->PauseReading(pause);
  if (err_ != nullptr) err_->PauseReading(pause);
}

void ExecSession::OutputEnded() {
  --open_outputs_;
  if (exit_code_ >= 0 && open_outputs_ <= 0) Finish();
}

void ExecSession::Exited(int code) {
  exit_code_ = code < 0 ? 137 : code;
  if (open_outputs_ <= 0) return Finish();
  // Children it left behind may hold its output open; they are not waited for long.
  linger_ = base::Timer::After(loop_, 200ms, [this] { Finish(); });
}

void ExecSession::Finish() {
  if (std::exchange(finished_, true)) return;
  remote_->Finish(exit_code_, "");
  // The client closes when it has everything; not every client does.
  linger_ = base::Timer::After(loop_, 5s, [this] { End(); });
}

// ---- attach ----

class AttachSession {
 public:
  static void Start(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
                    const Container& container, const RemoteRequest& request) {
    network::Fd fd = Connect(container.dir());
    if (!fd.valid())
      return stream->Respond(500, "text/plain", "the container takes no attachment\n");
    auto session = std::make_shared<AttachSession>(loop);
    AttachSession* raw = session.get();
    raw->remote_ = RemoteStreams::Accept(
        loop, stream, request,
        {.ready = [] {},
         .data = [raw](Channel channel,
                       std::string_view bytes) { raw->FromClient(channel, bytes); },
         .ended =
             [raw](Channel channel) {
               if (channel == kStdin) raw->socket_->Write(AttachFrame(5, ""));
             },
         .closed = [raw] { raw->End(); },
         .drained = [raw] { raw->socket_->PauseReading(false); }});
    if (raw->remote_ == nullptr) return;
    raw->self_ = session;
    raw->exit_file_ = container.dir();
    raw->socket_ = std::make_unique<FdStream>(
        loop, std::move(fd),
        FdStream::Events{.data = [raw](std::string_view bytes) { raw->FromContainer(bytes); },
                         .end = [raw] { raw->ContainerEnded(); }});
  }
  explicit AttachSession(base::Loop& loop) : loop_(loop) {}

 private:
  static network::Fd Connect(const std::string& dir) {
    network::Fd folder(open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    network::Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/attach.sock",
             folder.get());
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.Reset();
    return fd;
  }
  void FromClient(Channel channel, std::string_view bytes) {
    winsize size{};
    if (channel == kStdin)
      socket_->Write(AttachFrame(0, bytes));
    else if (channel == kResize && ParseSize(bytes, &size))
      socket_->Write(AttachFrame(4, fmt::format("{}x{}", size.ws_col, size.ws_row)));
  }
  void FromContainer(std::string_view bytes) {
    received_ += bytes;
    while (received_.size() >= 5) {
      uint32_t size = 0;
      memcpy(&size, received_.data() + 1, sizeof size);
      size = ntohl(size);
      if (received_.size() < 5 + size) break;
      remote_->Send(received_[0] == 2 ? kStderr : kStdout,
                    std::string_view(received_).substr(5, size));
      received_.erase(0, 5 + size);
    }
    if (remote_->buffered() > kMostUnsent) socket_->PauseReading(true);
  }
  void ContainerEnded() {
    auto exit = ReadExitState(ContainerFiles(exit_file_));
    remote_->Finish(exit.ok() ? exit->exit_code : 0, "");
    linger_ = base::Timer::After(loop_, 5s, [this] { End(); });
  }
  void End() {
    loop_.Post([self = std::exchange(self_, nullptr)] {});
  }

  base::Loop& loop_;
  std::shared_ptr<AttachSession> self_;
  std::string exit_file_, received_;
  std::unique_ptr<RemoteStreams> remote_;
  std::unique_ptr<FdStream> socket_;
  base::Timer linger_;
};

}  // namespace

void ServeExec(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
               const Container& container, const RemoteRequest& request,
               std::vector<std::string> command) {
  ExecSession::Start(loop, stream, container, request, std::move(command));
}

void ServeAttach(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
                 const Container& container, const RemoteRequest& request) {
  AttachSession::Start(loop, stream, container, request);
}

}  // namespace isthmus::lab::node
