#include "lab/node/container_init.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <list>
#include <optional>
#include <vector>

#include "lab/node/container_log.h"

namespace isthmus::lab::node {
namespace {

// Someone who attached: what came from them so far, and what they have not taken yet.
struct Peer {
  network::Fd fd;
  std::string received;
  std::string to_send;
};

constexpr size_t kMostUnsentToPeer = 4 << 20;
constexpr size_t kMostEarly = 64 << 10;

}  // namespace

std::string AttachFrame(char kind, std::string_view bytes) {
  std::string frame(1, kind);
  const uint32_t size = htonl(static_cast<uint32_t>(bytes.size()));
  frame.append(reinterpret_cast<const char*>(&size), sizeof size);
  return frame.append(bytes);
}

struct ContainerInit::Impl {
  ContainerConfig config;
  int folder_fd;
  network::Fd listener;
  ContainerLog log;
  Streams streams;
  network::Fd signals;
  std::list<Peer> peers;
  std::string early;  // Frames of what was printed before anyone attached.
  bool attached = false;
  std::string input;
  bool input_ended = false;
  pid_t app = -1;
  std::optional<int> app_status;

  Impl(const ContainerConfig& config_in, int folder, int log_folder, const std::string& log_name,
       network::Fd attach)
      : config(config_in),
        folder_fd(folder),
        listener(std::move(attach)),
        log(log_folder, log_name) {}

  void TakeOutput(network::Fd& fd, bool is_stderr);
  void TakeSignal();
  void Accept();
  bool ReadPeer(Peer& peer);
  void HandleFrames(Peer& peer);
  void Send(char kind, std::string_view bytes);
  void FeedInput();
  void Round(int timeout);
  void WriteExit();
};

ContainerInit::ContainerInit(const ContainerConfig& config, int folder_fd, int log_folder_fd,
                             const std::string& log_name, network::Fd attach_listener)
    : impl_(new Impl(config, folder_fd, log_folder_fd, log_name, std::move(attach_listener))) {}
ContainerInit::~ContainerInit() { delete impl_; }

void ContainerInit::Impl::Send(char kind, std::string_view bytes) {
  // `kubectl run -i` attaches to a container that is running already; it is to see the first lines
  // too.
  if (!attached && config.stdin_open && early.size() < kMostEarly)
    early += AttachFrame(kind, bytes);
  for (Peer& peer : peers)
    // Who does not read is not waited for: the container goes on, they miss output.
    if (peer.to_send.size() < kMostUnsentToPeer) peer.to_send += AttachFrame(kind, bytes);
}

void ContainerInit::Impl::TakeOutput(network::Fd& fd, bool is_stderr) {
  char buffer[32768];
  const ssize_t n = read(fd.get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return fd.Reset();  // A terminal says EIO when its last user has gone.
  const std::string_view bytes(buffer, static_cast<size_t>(n));
  log.Write(is_stderr, bytes);
  Send(is_stderr ? 2 : 1, bytes);
}

void ContainerInit::Impl::TakeSignal() {
  signalfd_siginfo info{};
  if (read(signals.get(), &info, sizeof info) != sizeof info) return;
  if (info.ssi_signo != SIGCHLD) {
    kill(app, static_cast<int>(info.ssi_signo));
    return;
  }
  int status = 0;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
    if (pid == app) app_status = status;
}

void ContainerInit::Impl::Accept() {
  network::Fd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) return;
  attached = true;
  peers.push_back({std::move(fd), {}, std::exchange(early, {})});
}

bool ContainerInit::Impl::ReadPeer(Peer& peer) {
  char buffer[32768];
  const ssize_t n = read(peer.fd.get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) return false;
  peer.received.append(buffer, static_cast<size_t>(n));
  HandleFrames(peer);
  return true;
}

void ContainerInit::Impl::HandleFrames(Peer& peer) {
  while (peer.received.size() >= 5) {
    uint32_t size = 0;
    memcpy(&size, peer.received.data() + 1, sizeof size);
    size = ntohl(size);
    if (peer.received.size() < 5 + size) return;
    const char kind = peer.received[0];
    const std::string bytes = peer.received.substr(5, size);
    peer.received.erase(0, 5 + size);
    if (kind == 0 && streams.in.valid()) input += bytes;
    if (kind == 5 && config.stdin_once && !streams.tty) input_ended = true;
    if (kind == 4 && streams.tty) {
      winsize terminal{};
      if (sscanf(bytes.c_str(), "%hux%hu", &terminal.ws_col, &terminal.ws_row) == 2)
        ioctl(streams.out.get(), TIOCSWINSZ, &terminal);
    }
  }
}

void ContainerInit::Impl::FeedInput() {
  if (!input.empty()) {
    const ssize_t n = write(streams.in.get(), input.data(), input.size());
    if (n > 0) input.erase(0, static_cast<size_t>(n));
    if (n < 0 && errno != EAGAIN && errno != EINTR) streams.in.Reset();
  }
  if (input.empty() && input_ended) streams.in.Reset();
}

void ContainerInit::Impl::Round(int timeout) {
  std::vector<pollfd> fds = {{signals.get(), POLLIN, 0},
                             {streams.out.get(), POLLIN, 0},
                             {streams.err.get(), POLLIN, 0},
                             {listener.get(), POLLIN, 0},
                             {input.empty() && !input_ended ? -1 : streams.in.get(), POLLOUT, 0}};
  for (const Peer& peer : peers)
    fds.push_back(
        {peer.fd.get(), static_cast<short>(peer.to_send.empty() ? POLLIN : POLLIN | POLLOUT), 0});
  if (poll(fds.data(), fds.size(), timeout) <= 0) return;
  if (fds[1].revents != 0) TakeOutput(streams.out, false);
  if (fds[2].revents != 0) TakeOutput(streams.err, true);
  if (fds[4].revents != 0) FeedInput();
  size_t at = 5;
  for (auto peer = peers.begin(); peer != peers.end();) {
    const short events = fds[at++].revents;
    bool alive = true;
    if ((events & POLLOUT) != 0) {
      const ssize_t n =
          send(peer->fd.get(), peer->to_send.data(), peer->to_send.size(), MSG_NOSIGNAL);
      if (n > 0) peer->to_send.erase(0, static_cast<size_t>(n));
    }
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) alive = ReadPeer(*peer);
    peer = alive ? std::next(peer) : peers.erase(peer);
  }
  if (fds[3].revents != 0) Accept();
  if (fds[0].revents != 0) TakeSignal();
}

void ContainerInit::Impl::WriteExit() {
  ExitState state;
  state.signal = WIFSIGNALED(*app_status) ? WTERMSIG(*app_status) : 0;
  state.exit_code = state.signal != 0 ? 128 + state.signal : WEXITSTATUS(*app_status);
  state.finished_at = NowWithNanoseconds();
  const std::string text = ExitStateJson(state);
  // By the folder's descriptor: the machine's paths cannot be seen from here.
  network::Fd fd(
      openat(folder_fd, "exit.json.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()))
    renameat(folder_fd, "exit.json.new", folder_fd, "exit.json");
}

void ContainerInit::Run(pid_t app, Streams streams) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t all;
  sigfillset(&all);
  for (const int fatal : {SIGPIPE, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigdelset(&all, fatal);
  impl_->signals.Reset(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  impl_->app = app;
  impl_->streams = std::move(streams);
  for (const network::Fd* fd : {&impl_->streams.in, &impl_->streams.out, &impl_->streams.err})
    if (fd->valid()) fcntl(fd->get(), F_SETFL, O_NONBLOCK);
  while (!impl_->app_status.has_value()) impl_->Round(-1);
  // What it printed last is in the pipes still; others of its processes may hold them open, so take
  // what is there and no more.
  for (network::Fd* fd : {&impl_->streams.out, &impl_->streams.err}) {
    while (fd->valid()) {
      pollfd ready{fd->get(), POLLIN, 0};
      if (poll(&ready, 1, 0) <= 0) break;
      impl_->TakeOutput(*fd, fd == &impl_->streams.err);
    }
  }
  impl_->log.Flush();
  impl_->WriteExit();
  for (int i = 0; i < 20; ++i) {
    bool unsent = false;
    for (const Peer& peer : impl_->peers) unsent |= !peer.to_send.empty();
    if (!unsent) break;
    impl_->Round(50);
  }
}

}  // namespace isthmus::lab::node
