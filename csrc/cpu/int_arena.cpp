#include "cpu/int_arena.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace spikeconv::cpu {
namespace {

// Slots begin at a page, each a few lines later than the one before: planes at the same distance
// from a page's beginning would get in each other's way.
int64_t in_pages(int64_t bytes) {
  constexpr int64_t kPage = 4096;
  return ceil_div(bytes, kPage) * kPage + 5 * 64;
}

}  // namespace

int64_t slot_bytes(const IntParts& parts, const IntSlot& slot, int64_t steps) {
  return in_pages(slot.plane_bytes(parts.sources, steps));
}

int64_t slot_bytes(const IntParts& parts, const IntPlan& plan, const IntWordSlot& slot,
                   int64_t steps) {
  int64_t words = 0;
  for (const int64_t plane : slot.planes) {
    const IntWordForm& form = plan.words[plane];
    words = std::max(words, IntWordPlane(parts.sources[form.source], form, steps).size());
  }
  return in_pages(words * static_cast<int64_t>(sizeof(uint16_t)));
}

int64_t arena_bytes(const IntParts& parts, const IntPlan& plan, int64_t steps) {
  int64_t bytes = 0;
  for (const IntSlot& slot : plan.slots) {
    bytes += slot_bytes(parts, slot, steps);
  }
  for (const IntWordSlot& slot : plan.word_slots) {
    bytes += slot_bytes(parts, plan, slot, steps);
  }
  return bytes;
}

int64_t images_together(const IntParts& parts, const IntPlan& plan, int64_t steps) {
  constexpr int64_t kCached = int64_t{8} << 20, kMost = 4;  // bytes, and images
  int64_t weights = 0;
  for (const IntStep& step : plan.steps) {
    if (step.kind == IntStep::Kind::kLayer) {
      const IntLayer& layer = parts.layers[step.index];
      for (const IntConvolution& convolution : layer.convolutions) {
        weights += convolution.block_bytes() * layer.blocks * convolution.passes();
      }
    }
  }
  const int64_t arena = std::max<int64_t>(1, arena_bytes(parts, plan, steps));
  return weights < kCached ? 1 : std::clamp<int64_t>(kCached / arena, 1, kMost);
}

c10::DataPtr IntArenas::take(const IntParts& parts, const IntPlan& plan, int64_t steps) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Free& free : free_) {
      if (free.plan == &plan && free.steps == steps) {
        c10::DataPtr memory = std::move(free.memory);
        std::swap(free, free_.back());
        free_.pop_back();
        return memory;
      }
    }
  }
  c10::DataPtr memory =
      c10::GetAllocator(c10::DeviceType::CPU)->allocate(arena_bytes(parts, plan, steps));
  auto* begin = static_cast<uint8_t*>(memory.get());
  for (const IntSlot& slot : plan.slots) {
    const int64_t size = slot_bytes(parts, slot, steps);
    std::memset(begin, parts.sources[slot.sources.front()].zero(), size);
    begin += size;
  }
  for (const IntWordSlot& slot : plan.word_slots) {
    const int64_t size = slot_bytes(parts, plan, slot, steps);
    std::memset(begin, 0, size);
    begin += size;
  }
  return memory;
}

void IntArenas::give_back(const IntPlan& plan, int64_t steps, c10::DataPtr memory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // Memory for another number of steps is not needed any more.
  const auto stale = [&](const Free& free) { return free.plan == &plan && free.steps != steps; };
  free_.erase(std::remove_if(free_.begin(), free_.end(), stale), free_.end());
  free_.push_back({&plan, steps, std::move(memory)});
}

}  // namespace spikeconv::cpu
