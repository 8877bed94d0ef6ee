#include "base/backoff.h"

#include <algorithm>
#include <random>

namespace isthmus::base {
namespace {

double Random() {
  thread_local std::minstd_rand generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

}  // namespace

Backoff::Backoff(Options options) : options_(std::move(options)), next_(options_.initial) {
  if (!options_.random) options_.random = Random;
}

Duration Backoff::Next() {
  const Duration base = std::min(next_, options_.max);
  // Reckoned in doubles: a large factor must not overflow the nanoseconds.
  const double grown = static_cast<double>(base.count()) * options_.factor;
  next_ = grown >= static_cast<double>(options_.max.count())
              ? options_.max
              : Duration(static_cast<int64_t>(grown));
  const double spread = 1 + options_.jitter * (2 * options_.random() - 1);
  return Duration(static_cast<int64_t>(static_cast<double>(base.count()) * spread));
}

}  // namespace isthmus::base
