#include "cpu/int_chain.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <tuple>

namespace spikeconv::cpu {
namespace {

bool same_format(const IntSource& a, const IntSource& b) {
  return a.channels == b.channels && a.height == b.height && a.width == b.width &&
         a.above == b.above && a.left == b.left && a.below == b.below && a.right == b.right &&
         a.zero() == b.zero();
}

// A slot for a source, taken from the free ones if there are any: the one that was left by the same
// format, else the smallest that is large enough, else the largest, which will grow.
int64_t take_slot(const IntParts& parts, int64_t source, std::vector<int64_t>* free,
                  std::vector<IntSlot>* slots) {
  if (free->empty()) {
    slots->emplace_back();
    return static_cast<int64_t>(slots->size()) - 1;
  }
  const int64_t wanted = parts.sources[source].plane_bytes(1, 1);
  const auto cost = [&](int64_t slot) {
    const bool same =
        same_format(parts.sources[(*slots)[slot].sources.back()], parts.sources[source]);
    const int64_t bytes = (*slots)[slot].plane_bytes(parts.sources, 1);
    const bool grows = bytes < wanted;
    return std::make_tuple(!same, grows, grows ? -bytes : bytes);
  };
  const auto best = std::min_element(free->begin(), free->end(),
                                     [&](int64_t a, int64_t b) { return cost(a) < cost(b); });
  const int64_t slot = *best;
  free->erase(best);
  return slot;
}

void mark_borders(const IntParts& parts, const IntSlot& slot, std::vector<char>* borders) {
  const auto format = [&](size_t i) -> const IntSource& { return parts.sources[slot.sources[i]]; };
  bool one_format = true;
  for (size_t i = 1; i < slot.sources.size(); ++i) {
    (*borders)[slot.sources[i]] = !same_format(format(i), format(i - 1));
    one_format = one_format && same_format(format(i), format(0));
  }
  (*borders)[slot.sources[0]] = !one_format;
}

}  // namespace

int64_t IntSlot::plane_bytes(const std::vector<IntSource>& all, int64_t steps) const {
  int64_t bytes = 0;
  for (const int64_t source : sources) {
    bytes = std::max(bytes, all[source].plane_bytes(1, steps));
  }
  return bytes;
}

std::vector<int64_t> reads(const IntParts& parts, const IntStep& step) {
  std::vector<int64_t> sources;
  if (step.kind == IntStep::Kind::kPool) {
    sources.push_back(parts.pools[step.index].source);
  } else if (step.kind == IntStep::Kind::kLayer) {
    for (const IntConvolution& convolution : parts.layers[step.index].convolutions) {
      sources.push_back(convolution.window.source);
    }
    for (const IntShortcutTerm& shortcut : parts.layers[step.index].shortcuts) {
      sources.push_back(shortcut.source);
    }
  }
  return sources;
}

int64_t writes(const IntParts& parts, const IntStep& step) {
  switch (step.kind) {
    case IntStep::Kind::kLayer:
      return parts.layers[step.index].out;
    case IntStep::Kind::kPool:
      return parts.pools[step.index].out;
    default:
      return parts.encoders[step.index].out;
  }
}

IntChain make_int_chain(const IntParts& parts, std::vector<IntStep> steps,
                        std::vector<int64_t> wanted, std::vector<char> counts) {
  const auto n_sources = static_cast<int64_t>(parts.sources.size());
  IntChain chain{std::move(steps), {}, std::move(wanted), std::move(counts), {}, {}};
  constexpr int64_t kNever = -1;
  std::vector<int64_t> written(n_sources, kNever), last_read(n_sources, kNever);
  for (size_t i = 0; i < chain.steps.size(); ++i) {
    for (const int64_t source : reads(parts, chain.steps[i])) {
      if (written[source] == kNever && last_read[source] == kNever) {
        chain.given.push_back(source);
      }
      last_read[source] = static_cast<int64_t>(i);
    }
    const int64_t out = writes(parts, chain.steps[i]);
    if (out >= 0) {
      TORCH_CHECK(written[out] == kNever && last_read[out] == kNever,
                  "_IntegerProgram.add_chain: source ", out,
                  " must be written once, and not be read before");
      written[out] = static_cast<int64_t>(i);
    }
  }
  std::vector<char> handed_in(n_sources, 0);
  for (const int64_t source : chain.wanted) {
    TORCH_CHECK(written[source] != kNever, "_IntegerProgram.add_chain: source ", source,
                " is wanted, but no step writes it");
    TORCH_CHECK(handed_in[source] == 0, "_IntegerProgram.add_chain: source ", source,
                " is wanted twice");
    handed_in[source] = 1;
  }
  std::vector<int64_t> free, slot_of(n_sources, -1);
  for (size_t i = 0; i < chain.steps.size(); ++i) {
    const int64_t out = writes(parts, chain.steps[i]);
    if (out >= 0 && handed_in[out] == 0 && last_read[out] != kNever) {
      slot_of[out] = take_slot(parts, out, &free, &chain.slots);
      chain.slots[slot_of[out]].sources.push_back(out);
    }
    for (int64_t source = 0; source < n_sources; ++source) {
      if (last_read[source] == static_cast<int64_t>(i) && slot_of[source] >= 0) {
        free.push_back(slot_of[source]);
      }
    }
  }
  chain.borders.assign(n_sources, 0);
  for (const IntSlot& slot : chain.slots) {
    mark_borders(parts, slot, &chain.borders);
  }
  return chain;
}

}  // namespace spikeconv::cpu
