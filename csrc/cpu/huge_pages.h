// Fewer page faults for large outputs.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace spikeconv::cpu {

// From this size on, memory is worth the call.
constexpr size_t kHugePagesBytes = size_t{4} << 20;

// Asks the system to back memory that is about to be written from end to end with huge pages, where
// it leaves that choice to programs. An allocator often hands out large memory untouched, and then
// its faults of 4 KiB each cost more than the arithmetic. Only a hint: whether it is taken changes
// nothing but the time.
inline void advise_huge_pages(void* data, size_t bytes) {
#if defined(__linux__)
  if (bytes >= kHugePagesBytes) {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = reinterpret_cast<uintptr_t>(data) / page * page;
    const uintptr_t end = reinterpret_cast<uintptr_t>(data) + bytes;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  }
#else
  static_cast<void>(data);
  static_cast<void>(bytes);
#endif
}

}  // namespace spikeconv::cpu
