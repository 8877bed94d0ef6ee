#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "http/client.h"

namespace isthmus::http {

/// What carries an exchange: an HTTP/1.1 connection or an HTTP/2 stream. Internal to http.
class ClientBackend {
 public:
  virtual ~ClientBackend() = default;
  virtual void SendBody(base::Slice data, bool end) = 0;
  /// Nobody waits for the answer any more. Calls nothing back.
  virtual void Abandon() = 0;
  virtual size_t buffered() const = 0;
  virtual void PauseBody(bool pause) = 0;
};

/// One request from Open() to its end, whatever carries it, and through a second try on a new
/// connection.
///
/// Calls the user's events, each from a copy, so that they may drop everything. After `Finish` or
/// `Cancel` nothing is called.
class ClientExchange final : public std::enable_shared_from_this<ClientExchange> {
 public:
  ClientExchange(base::Loop& loop, RequestHead head, bool end, ClientEvents events)
      : head(std::move(head)), loop_(loop), events_(std::make_shared<Events>()) {
    events_->user = std::move(events);
    sent_all_ = end;
  }

  // By the user, through the handle.
  void SendData(base::Slice data, bool end);
  /// With `tell`, close(kCancelled) is called soon.
  void Cancel(bool tell);
  size_t buffered() const { return backend_ != nullptr ? backend_->buffered() : waiting_size_; }
  void OnDrain(std::function<void()> callback) { events_->drain = std::move(callback); }
  void PauseBody(bool pause);

  // By what carries it.
  /// Gives it a carrier and what has been written so far.
  void Attach(ClientBackend* backend);
  void Detach() { backend_ = nullptr; }
  void OnHead(ResponseHead response);
  void OnData(std::string_view data);
  void OnTrailers(Headers trailers);
  void OnDrained();
  void Finish(base::Status status);

  bool done() const { return done_; }
  bool head_seen() const { return head_seen_; }
  /// Whether the request has no body at all.
  bool bodyless() const { return sent_all_ && kept_.empty(); }
  bool paused() const { return paused_; }
  /// Whether it may be sent again: nothing of an answer came, all that was sent is still there, and
  /// the server did not process it for sure (`unprocessed`) or may process it twice. Counts the
  /// tries.
  bool TryAgain(bool unprocessed);

  const RequestHead head;

 private:
  struct Events {
    ClientEvents user;
    std::function<void()> drain;
  };

  base::Loop& loop_;
  std::shared_ptr<Events> events_;
  ClientBackend* backend_ = nullptr;
  std::vector<base::Slice> kept_;  // The body so far, until the answer begins or it is too much.
  size_t kept_size_ = 0, waiting_size_ = 0;
  bool kept_all_ = true, sent_all_ = false, head_seen_ = false, done_ = false, paused_ = false;
  int tries_ = 1;
};

}  // namespace isthmus::http
