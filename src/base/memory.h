#pragma once

#include "base/loop.h"

namespace isthmus::base {

/// Gives freed memory back to the system when it has become much: a large list that was read, or a
/// push to many streams, leaves a heap full of holes that would stay in the process for good.
/// Lives on its loop.
class MemoryKeeper {
 public:
  explicit MemoryKeeper(Loop& loop);

 private:
  Timer look_;
};

}  // namespace isthmus::base
