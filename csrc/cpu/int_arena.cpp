#include "cpu/int_arena.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace spikeconv::cpu {
namespace {

constexpr int64_t kPage = 4096;

}  // namespace

// Slots begin at a page, each a few lines later than the one before: planes at the same distance
// from a page's beginning would get in each other's way.
int64_t slot_bytes(const IntParts& parts, const IntSlot& slot, int64_t steps) {
  const int64_t bytes = slot.plane_bytes(parts.sources, steps);
  return (bytes + kPage - 1) / kPage * kPage + 5 * 64;
}

int64_t arena_bytes(const IntParts& parts, const IntChain& chain, int64_t steps) {
  int64_t bytes = 0;
  for (const IntSlot& slot : chain.slots) {
    bytes += slot_bytes(parts, slot, steps);
  }
  return bytes;
}

c10::DataPtr IntArenas::take(const IntParts& parts, const IntChain& chain, int64_t steps) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Free& free : free_) {
      if (free.chain == &chain && free.steps == steps) {
        c10::DataPtr memory = std::move(free.memory);
        std::swap(free, free_.back());
        free_.pop_back();
        return memory;
      }
    }
  }
  c10::DataPtr memory =
      c10::GetAllocator(c10::DeviceType::CPU)->allocate(arena_bytes(parts, chain, steps));
  auto* begin = static_cast<uint8_t*>(memory.get());
  for (const IntSlot& slot : chain.slots) {
    const int64_t size = slot_bytes(parts, slot, steps);
    std::memset(begin, parts.sources[slot.sources.front()].zero(), size);
    begin += size;
  }
  return memory;
}

void IntArenas::give_back(const IntChain& chain, int64_t steps, c10::DataPtr memory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // Memory for another number of steps is not needed any more.
  const auto stale = [&](const Free& free) { return free.chain == &chain && free.steps != steps; };
  free_.erase(std::remove_if(free_.begin(), free_.end(), stale), free_.end());
  free_.push_back({&chain, steps, std::move(memory)});
}

}  // namespace spikeconv::cpu
