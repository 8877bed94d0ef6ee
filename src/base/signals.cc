#include "base/signals.h"

#include <uv.h>

#include <utility>

namespace isthmus::base {
namespace {

struct Watch {
  uv_signal_t signal;
  std::shared_ptr<std::function<void(int)>> callback;
};

}  // namespace

struct Signals::State {
  std::vector<Watch*> watches;
};

Signals::Signals(Loop& loop, const std::vector<int>& signals, std::function<void(int)> callback)
    : state_(std::make_shared<State>()) {
  const auto shared = std::make_shared<std::function<void(int)>>(std::move(callback));
  for (const int number : signals) {
    auto* watch = new Watch{{}, shared};
    watch->signal.data = watch;
    uv_signal_init(loop.uv(), &watch->signal);
    uv_signal_start(
        &watch->signal,
        [](uv_signal_t* signal, int number) {
          const auto held = static_cast<Watch*>(signal->data)->callback;
          if (held && !uv_is_closing(reinterpret_cast<uv_handle_t*>(signal))) (*held)(number);
        },
        number);
    state_->watches.push_back(watch);
  }
}

Signals::~Signals() {
  for (Watch* watch : state_->watches) {
    watch->callback.reset();
    uv_close(reinterpret_cast<uv_handle_t*>(&watch->signal),
             [](uv_handle_t* handle) { delete static_cast<Watch*>(handle->data); });
  }
}

}  // namespace isthmus::base
