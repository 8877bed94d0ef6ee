#include "http/listener.h"

#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <utility>

#include "base/net.h"
#include "base/strings.h"

namespace isthmus::http {

struct Listener::State {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  std::shared_ptr<std::function<void(uv_stream_s*)>> incoming;
  State() {}
  ~State() {}

  static void Incoming(uv_stream_t* stream, int error) {
    const auto call = static_cast<State*>(stream->data)->incoming;
    if (call != nullptr && error == 0) (*call)(stream);
  }
};

base::Result<std::unique_ptr<Listener>> Listener::Open(base::Loop& loop, const std::string& address,
                                                       uint16_t port,
                                                       std::function<void(uv_stream_s*)> incoming) {
  std::string name = address;
  std::string_view path = address;
  const bool unix_socket = base::ConsumePrefix(path, "unix:");
  const std::string file(path);
  base::SocketAddress ip;
  if (!unix_socket) {
    ASSIGN_OR_RETURN(ip, base::SocketAddress::From(address, port), "listening");
    name = ip.text();
  } else if (file.empty() || file.size() >= sizeof(sockaddr_un::sun_path)) {
    return base::Error(base::Code::kInvalidArgument,
                       "listening on {}: the path is empty or longer than {} bytes", address,
                       sizeof(sockaddr_un::sun_path) - 1);
  }
  auto* state = new State;
  std::unique_ptr<Listener> listener(new Listener(state));
  state->incoming = std::make_shared<std::function<void(uv_stream_s*)>>(std::move(incoming));
  int error = 0;
  if (unix_socket) {
    uv_pipe_init(loop.uv(), &state->pipe, 0);
    ::unlink(file.c_str());  // A socket file that a run before has left.
    error = uv_pipe_bind(&state->pipe, file.c_str());
  } else {
    uv_tcp_init(loop.uv(), &state->tcp);
    error = uv_tcp_bind(&state->tcp, ip.raw(), 0);
  }
  state->handle.data = state;
  if (error == 0) error = uv_listen(&state->stream, 1024, &State::Incoming);
  if (error != 0) {
    const auto code = error == UV_EACCES ? base::Code::kPermissionDenied : base::Code::kUnavailable;
    return base::Error(code, "listening on {}: {}", name,
                       error == UV_EADDRINUSE ? "the port is in use" : uv_strerror(error));
  }
  if (!unix_socket) {
    sockaddr_storage storage{};
    int length = sizeof storage;
    uv_tcp_getsockname(&state->tcp, reinterpret_cast<sockaddr*>(&storage), &length);
    listener->port_ = base::SocketAddress(reinterpret_cast<sockaddr*>(&storage)).port();
  }
  return listener;
}

Listener::~Listener() {
  state_->incoming.reset();
  uv_close(&state_->handle, [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
}

}  // namespace isthmus::http
