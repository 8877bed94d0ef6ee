#include "http/client_exchange.h"

#include <algorithm>
#include <array>

namespace isthmus::http {
namespace {

constexpr size_t kMaxKept = 4 * 1024 * 1024;
constexpr int kMaxTries = 3;

}  // namespace

void ClientExchange::SendData(base::Slice data, bool end) {
  if (done_ || sent_all_) return;
  sent_all_ = end;
  // Before there is a connection everything is kept, whatever its size.
  const bool keep =
      backend_ == nullptr || (!head_seen_ && kept_all_ && kept_size_ + data.size() <= kMaxKept);
  if (backend_ == nullptr) waiting_size_ += data.size();
  if (keep) {
    kept_size_ += data.size();
    if (!data.empty()) kept_.push_back(data);
  } else {
    kept_all_ = false;
    kept_.clear();
  }
  if (backend_ != nullptr) backend_->SendBody(std::move(data), end);
}

void ClientExchange::Cancel(bool tell) {
  if (done_) return;
  done_ = true;
  if (ClientBackend* backend = std::exchange(backend_, nullptr)) backend->Abandon();
  // Released soon: one of the callbacks may be running.
  loop_.Post([tell, events = std::exchange(events_, std::make_shared<Events>())] {
    if (tell && events->user.close)
      events->user.close(base::Error(base::Code::kCancelled, "cancelled"));
  });
}

void ClientExchange::PauseBody(bool pause) {
  paused_ = pause;
  if (backend_ != nullptr) backend_->PauseBody(pause);
}

void ClientExchange::Attach(ClientBackend* backend) {
  backend_ = backend;
  waiting_size_ = 0;
  if (paused_) backend_->PauseBody(true);
  const std::vector<base::Slice> body = kept_;
  for (size_t i = 0; i < body.size(); ++i)
    backend_->SendBody(body[i], sent_all_ && i + 1 == body.size());
  if (kept_size_ > kMaxKept) {
    kept_all_ = false;
    kept_.clear();
  }
}

void ClientExchange::OnHead(ResponseHead response) {
  head_seen_ = true;
  kept_all_ = false;
  kept_.clear();
  const auto events = events_;
  if (events->user.head) events->user.head(std::move(response));
}

void ClientExchange::OnData(std::string_view data) {
  const auto events = events_;
  if (events->user.data) events->user.data(data);
}

void ClientExchange::OnTrailers(Headers trailers) {
  const auto events = events_;
  if (events->user.trailers) events->user.trailers(std::move(trailers));
}

void ClientExchange::OnDrained() {
  const auto events = events_;
  if (events->drain) events->drain();
}

void ClientExchange::Finish(base::Status status) {
  backend_ = nullptr;
  if (std::exchange(done_, true)) return;
  const auto events = std::exchange(events_, std::make_shared<Events>());
  if (events->user.close) events->user.close(std::move(status));
}

bool ClientExchange::TryAgain(bool unprocessed) {
  constexpr std::array<std::string_view, 5> kIdempotent = {"GET", "HEAD", "OPTIONS", "PUT",
                                                           "DELETE"};
  if (done_ || head_seen_ || !kept_all_ || tries_ >= kMaxTries) return false;
  if (!unprocessed &&
      std::find(kIdempotent.begin(), kIdempotent.end(), head.method) == kIdempotent.end())
    return false;
  ++tries_;
  return true;
}

}  // namespace isthmus::http
