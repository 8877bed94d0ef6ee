#pragma once

#include <functional>

#include "base/loop.h"

namespace isthmus::base {

/// How long to wait before the next try: grows by `factor` from `initial` to `max`, each spread by
/// +-`jitter` so that many clients do not come back at once. A value without a timer of its own.
class Backoff {
 public:
  struct Options {
    Duration initial = std::chrono::milliseconds(100);
    Duration max = std::chrono::seconds(30);
    double factor = 2;
    double jitter = 0.2;
    /// A number in [0, 1); empty takes a random one.
    std::function<double()> random;
  };
  Backoff() : Backoff(Options()) {}
  explicit Backoff(Options options);

  Duration Next();
  /// After a success.
  void Reset() { next_ = options_.initial; }

 private:
  Options options_;
  Duration next_;
};

}  // namespace isthmus::base
