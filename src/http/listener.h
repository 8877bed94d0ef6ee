#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"

struct uv_stream_s;

namespace isthmus::http {

/// A listening TCP or unix socket. Internal to http. Destroying it closes the port; its callback
/// may.
class Listener {
 public:
  /// `address` is an IP address or "unix:/path". `incoming` gets the handle to accept from.
  static base::Result<std::unique_ptr<Listener>> Open(base::Loop& loop, const std::string& address,
                                                      uint16_t port,
                                                      std::function<void(uv_stream_s*)> incoming);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  /// 0 for a unix socket.
  uint16_t port() const { return port_; }

 private:
  struct State;
  explicit Listener(State* state) : state_(state) {}
  State* state_;
  uint16_t port_ = 0;
};

}  // namespace isthmus::http
