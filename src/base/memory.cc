#include "base/memory.h"

#include <malloc.h>

#include <algorithm>

namespace isthmus::base {
namespace {

constexpr auto kPeriod = std::chrono::seconds(3);
// Giving back costs about a millisecond for each 10 MB of heap; less than this is not worth it.
constexpr size_t kWorthIt = 4 << 20;

}  // namespace

MemoryKeeper::MemoryKeeper(Loop& loop)
    : look_(Timer::Every(loop, kPeriod, [settled = size_t{0}]() mutable {
        // What was given back is still counted as free: only what was freed since then counts.
        const size_t free = mallinfo2().fordblks;
        settled = std::min(settled, free);
        if (free - settled < kWorthIt) return;
        malloc_trim(0);
        settled = free;
      })) {}

}  // namespace isthmus::base
