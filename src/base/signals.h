#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/loop.h"

namespace isthmus::base {

/// Calls back on the loop when the process gets one of the signals, until destroyed. The callback
/// may destroy it.
class Signals {
 public:
  Signals(Loop& loop, const std::vector<int>& signals, std::function<void(int)> callback);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace isthmus::base
