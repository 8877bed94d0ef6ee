#include "base/net.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <uv.h>

#include <cstring>
#include <utility>

#include "base/strings.h"

namespace isthmus::base {
namespace {

std::string_view WithoutBrackets(std::string_view ip) {
  if (ip.size() >= 2 && ip.front() == '[' && ip.back() == ']') return ip.substr(1, ip.size() - 2);
  return ip;
}

Result<uint16_t> ParsePort(std::string_view text) {
  const auto port = ParseInt(text);
  if (!port.ok() || port.value() < 0 || port.value() > 65535 || text.front() == '-') {
    return Error(Code::kInvalidArgument, "'{}' is not a port between 0 and 65535", text);
  }
  return static_cast<uint16_t>(port.value());
}

}  // namespace

bool IsIpAddress(std::string_view text) { return SocketAddress::From(text, 0).ok(); }
bool IsIpv4Address(std::string_view text) {
  return text.find(':') == std::string_view::npos && IsIpAddress(text);
}

SocketAddress::SocketAddress(const sockaddr* address) {
  if (address == nullptr) return;
  if (address->sa_family == AF_INET) std::memcpy(&storage_, address, sizeof(sockaddr_in));
  if (address->sa_family == AF_INET6) std::memcpy(&storage_, address, sizeof(sockaddr_in6));
}

Result<SocketAddress> SocketAddress::From(std::string_view ip, uint16_t port) {
  const std::string text(WithoutBrackets(ip));
  SocketAddress address;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&address.storage_, &v4, sizeof v4);
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&address.storage_, &v6, sizeof v6);
  } else {
    return Error(Code::kInvalidArgument, "'{}' is not an IP address", ip);
  }
  return address;
}

Result<SocketAddress> SocketAddress::Parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || (text.front() != '[' && text.find(':') != colon)) {
    return Error(Code::kInvalidArgument, "'{}' is not an address such as 10.0.0.1:80 or [::1]:80",
                 text);
  }
  ASSIGN_OR_RETURN(const uint16_t port, ParsePort(text.substr(colon + 1)),
                   fmt::format("address '{}'", text));
  return From(text.substr(0, colon), port);
}

std::string SocketAddress::ip() const {
  char buffer[INET6_ADDRSTRLEN] = "";
  if (storage_.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr, buffer,
                sizeof buffer);
  } else if (storage_.ss_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr, buffer,
                sizeof buffer);
  }
  return buffer;
}

uint16_t SocketAddress::port() const {
  // The port lies at the same place in both.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port);
}

std::string SocketAddress::text() const {
  return is_v6() ? fmt::format("[{}]:{}", ip(), port()) : fmt::format("{}:{}", ip(), port());
}

Result<HostPort> HostPort::Parse(std::string_view text, uint16_t default_port) {
  HostPort parsed;
  parsed.port = default_port;
  std::string_view host = text;
  std::string_view port;
  if (!text.empty() && text.front() == '[') {
    const size_t end = text.find(']');
    if (end == std::string_view::npos)
      return Error(Code::kInvalidArgument, "'{}' lacks a closing bracket", text);
    host = text.substr(1, end - 1);
    std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && !ConsumePrefix(rest, ":")) {
      return Error(Code::kInvalidArgument, "'{}' is not host:port", text);
    }
    port = rest;
  } else if (const size_t colon = text.find(':');
             colon != std::string_view::npos && text.rfind(':') == colon) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty())
      return Error(Code::kInvalidArgument, "'{}' lacks a port after the colon", text);
  }
  if (host.empty()) return Error(Code::kInvalidArgument, "'{}' lacks a host", text);
  if (!port.empty()) {
    ASSIGN_OR_RETURN(parsed.port, ParsePort(port), fmt::format("address '{}'", text));
  }
  parsed.host = host;
  return parsed;
}

std::string HostPort::text() const {
  return host.find(':') != std::string::npos ? fmt::format("[{}]:{}", host, port)
                                             : fmt::format("{}:{}", host, port);
}

namespace {

struct Lookup {
  uv_getaddrinfo_t request;
  std::string host;
  uint16_t port = 0;
  std::function<void(Result<std::vector<SocketAddress>>)>
      done;  // Empty when nobody waits any more.

  static Status LookupError(const std::string& host, int error) {
    const bool unknown = error == UV_EAI_NONAME || error == UV_EAI_NODATA;
    return Error(unknown ? Code::kNotFound : Code::kUnavailable, "looking up {}: {}", host,
                 unknown ? "no such host" : uv_strerror(error));
  }

  static void Done(uv_getaddrinfo_t* request, int error, addrinfo* found) {
    std::unique_ptr<Lookup> lookup(static_cast<Lookup*>(request->data));
    std::vector<SocketAddress> addresses;
    for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
      const SocketAddress address(info->ai_addr);
      if (auto made = SocketAddress::From(address.ip(), lookup->port); made.ok()) {
        addresses.push_back(made.value());
      }
    }
    uv_freeaddrinfo(found);
    if (!lookup->done) return;
    const auto done = std::move(lookup->done);
    if (error != 0) return done(LookupError(lookup->host, error));
    if (addresses.empty()) return done(LookupError(lookup->host, UV_EAI_NODATA));
    done(std::move(addresses));
  }
};

/// What Resolve() hands out; dropping it before the answer makes the answer go nowhere.
struct Waiting {
  std::function<void(Result<std::vector<SocketAddress>>)> done;
};

}  // namespace

std::shared_ptr<void> Resolve(Loop& loop, const std::string& host, uint16_t port,
                              std::function<void(Result<std::vector<SocketAddress>>)> done) {
  auto waiting = std::make_shared<Waiting>();
  waiting->done = std::move(done);
  auto answer = [weak = std::weak_ptr(waiting)](Result<std::vector<SocketAddress>> result) {
    const auto waiting = weak.lock();
    if (!waiting || !waiting->done) return;
    const auto done = std::exchange(waiting->done, nullptr);
    done(std::move(result));
  };
  if (auto address = SocketAddress::From(host, port); address.ok()) {
    loop.Post(
        [answer = std::move(answer), address = address.value()] { answer(std::vector{address}); });
    return waiting;
  }
  auto* lookup = new Lookup;
  lookup->request.data = lookup;
  lookup->host = host;
  lookup->port = port;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  const int error =
      uv_getaddrinfo(loop.uv(), &lookup->request, &Lookup::Done, host.c_str(), nullptr, &hints);
  if (error != 0) {
    delete lookup;
    loop.Post([answer = std::move(answer), status = Lookup::LookupError(host, error)] {
      answer(status);
    });
  } else {
    lookup->done = std::move(answer);
  }
  return waiting;
}

struct UdpSocket::State {
  uv_udp_t handle;
  Callback received;
  bool running = false;
  // One datagram at a time; larger ones are cut, and dropped.
  char buffer[65536];

  static void Allocate(uv_handle_t* handle, size_t, uv_buf_t* buffer) {
    auto* state = static_cast<State*>(handle->data);
    *buffer = uv_buf_init(state->buffer, sizeof state->buffer);
  }
  static void Received(uv_udp_t* handle, ssize_t size, const uv_buf_t* buffer, const sockaddr* from,
                       unsigned flags) {
    auto* state = static_cast<State*>(handle->data);
    if (size < 0 || from == nullptr || (flags & UV_UDP_PARTIAL) != 0 || !state->received) return;
    state->running = true;
    state->received(std::string_view(buffer->base, static_cast<size_t>(size)), SocketAddress(from));
    state->running = false;
    if (uv_is_closing(reinterpret_cast<uv_handle_t*>(handle))) state->received = nullptr;
  }
  static void Close(State* state) {
    uv_udp_recv_stop(&state->handle);
    uv_close(reinterpret_cast<uv_handle_t*>(&state->handle),
             [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
    if (!state->running) state->received = nullptr;
  }
};

Result<std::unique_ptr<UdpSocket>> UdpSocket::Bind(Loop& loop, const SocketAddress& address,
                                                   Callback received) {
  auto* state = new State;
  state->handle.data = state;
  state->received = std::move(received);
  uv_udp_init(loop.uv(), &state->handle);
  std::unique_ptr<UdpSocket> socket(new UdpSocket(state));
  int error = uv_udp_bind(&state->handle, address.raw(), 0);
  if (error == 0) error = uv_udp_recv_start(&state->handle, &State::Allocate, &State::Received);
  if (error != 0) {
    return Error(error == UV_EACCES ? Code::kPermissionDenied : Code::kUnavailable,
                 "opening UDP port {}: {}", address.text(),
                 error == UV_EADDRINUSE ? "the port is in use" : uv_strerror(error));
  }
  return socket;
}

UdpSocket::~UdpSocket() { State::Close(state_); }

SocketAddress UdpSocket::local() const {
  sockaddr_storage storage{};
  int length = sizeof storage;
  uv_udp_getsockname(&state_->handle, reinterpret_cast<sockaddr*>(&storage), &length);
  return SocketAddress(reinterpret_cast<sockaddr*>(&storage));
}

Status UdpSocket::Send(std::string_view datagram, const SocketAddress& to) {
  uv_buf_t buffer =
      uv_buf_init(const_cast<char*>(datagram.data()), static_cast<unsigned>(datagram.size()));
  const int sent = uv_udp_try_send(&state_->handle, &buffer, 1, to.raw());
  if (sent < 0) return Error(Code::kUnavailable, "sending to {}: {}", to.text(), uv_strerror(sent));
  return {};
}

}  // namespace isthmus::base
