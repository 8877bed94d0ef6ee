#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace isthmus::base {

using Time = std::chrono::system_clock::time_point;

/// Wall time, injected wherever certificates, leases or ages are reckoned, so that tests can step
/// it.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time Now() const = 0;
};

/// The machine's clock.
class SystemClock final : public Clock {
 public:
  Time Now() const override { return std::chrono::system_clock::now(); }
};

/// A clock that stands still until told otherwise; for tests.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(Time now) : now_(now) {}
  Time Now() const override { return now_; }
  void Advance(std::chrono::seconds by) { now_ += by; }

 private:
  Time now_;
};

/// RFC 3339 in UTC with seconds: "2026-11-21T13:56:00Z".
std::string FormatTime(Time time);
/// Accepts fractions and offsets.
Result<Time> ParseTime(std::string_view text);

}  // namespace isthmus::base
