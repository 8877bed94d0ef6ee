#include "base/memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace isthmus::base {
namespace {

constexpr auto kPeriod = std::chrono::seconds(3);
// Giving back costs about a millisecond for each 10 MB of heap; less than this is not worth it.
constexpr size_t kWorthIt = 4 << 20;

int ReleaseSegments(dl_phdr_info* object, size_t, void* page_size) {
  const uintptr_t page = *static_cast<const uintptr_t*>(page_size);
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    // What may be written has been, by relocation at least.
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const uintptr_t start = object->dlpi_addr + segment.p_vaddr;
    const uintptr_t from = (start + page - 1) & ~(page - 1);
    const uintptr_t to = (start + segment.p_filesz) & ~(page - 1);
    // A failure leaves the pages where they are.
    if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
  }
  return 0;
}

}  // namespace

void ReleaseMemory() {
  malloc_trim(0);
  uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  dl_iterate_phdr(&ReleaseSegments, &page);
}

MemoryKeeper::MemoryKeeper(Loop& loop) : look_(Timer::Every(loop, kPeriod, [this] { Look(); })) {}

void MemoryKeeper::Look() {
  // What was given back is still counted as free: only what was freed since then counts.
  const size_t free = mallinfo2().fordblks;
  settled_ = std::min(settled_, free);
  const bool starting = std::exchange(started_, false);
  if (!starting && free - settled_ < kWorthIt) return;
  starting ? ReleaseMemory() : (void)malloc_trim(0);
  settled_ = free;
}

}  // namespace isthmus::base
