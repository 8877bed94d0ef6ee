#pragma once

#include "base/loop.h"

namespace isthmus::base {

/// Gives free memory of the heap back, and unmaps the pages of the program and its libraries that
/// are as in their files. Those come back at their next use, from the page cache; what only the
/// start needed (relocation, tables of symbols, reading of settings) stays away.
void ReleaseMemory();

/// Gives freed memory back to the system when it has become much: a large list that was read, or a
/// push to many streams, leaves a heap full of holes that would stay in the process for good. Lets
/// go, once, of what only the start needed. Lives on its loop.
class MemoryKeeper {
 public:
  explicit MemoryKeeper(Loop& loop);
  /// The start is over: the next look lets go of what it needed.
  void Started() { started_ = true; }

 private:
  void Look();

  size_t settled_ = 0;  ///< Free bytes of the heap at the last time they were given back.
  bool started_ = false;
  Timer look_;
};

}  // namespace isthmus::base
