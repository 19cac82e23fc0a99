// Fewer page faults for large outputs.
#pragma once

#include <stdint.h>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace spikeconv::cpu {

// Asks the system to back memory that is about to be written from end to end with huge pages, where
// it leaves that choice to programs. A fresh output of hundreds of MB costs more in faults of 4 KiB
// than in arithmetic. Only a hint: nothing depends on whether it is taken.
inline void advise_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__)
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(bytes);
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  static_cast<void>(data);
  static_cast<void>(bytes);
#endif
}

}  // namespace spikeconv::cpu
