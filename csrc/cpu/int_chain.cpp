#include "cpu/int_chain.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "cpu/int_word_steps.h"

namespace spikeconv::cpu {
namespace {

constexpr int64_t kNever = -1;

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

// Puts the planes of bytes that pass between steps into slots.
void take_slots(const IntParts& parts, const std::vector<char>& handed_in, IntPlan* plan) {
  const size_t n_sources = parts.sources.size();
  std::vector<int64_t> last_read(n_sources, kNever), slot_of(n_sources, kNever), free;
  for (size_t i = 0; i < plan->steps.size(); ++i) {
    for (const int64_t source : reads(parts, plan->steps[i])) {
      last_read[source] = static_cast<int64_t>(i);
    }
  }
  for (size_t i = 0; i < plan->steps.size(); ++i) {
    const int64_t out = writes(parts, plan->steps[i]);
    if (out >= 0 && handed_in[out] == 0 && last_read[out] != kNever) {
      slot_of[out] = take_slot(parts, out, &free, &plan->slots);
      plan->slots[slot_of[out]].sources.push_back(out);
    }
    for (size_t source = 0; source < n_sources; ++source) {
      if (last_read[source] == static_cast<int64_t>(i) && slot_of[source] >= 0) {
        free.push_back(slot_of[source]);
      }
    }
  }
  plan->borders.assign(n_sources, 0);
  for (const IntSlot& slot : plan->slots) {
    mark_borders(parts, slot, &plan->borders);
  }
}

// Likewise those of words: into the slot that was left last, which a cache still holds.
void take_word_slots(IntPlan* plan) {
  const size_t n_planes = plan->words.size();
  std::vector<int64_t> last_read(n_planes, kNever), slot_of(n_planes, kNever), free;
  for (size_t i = 0; i < plan->steps.size(); ++i) {
    for (const int64_t plane : plan->steps[i].words_read) {
      last_read[plane] = static_cast<int64_t>(i);
    }
  }
  for (size_t i = 0; i < plan->steps.size(); ++i) {
    const int64_t out = plan->steps[i].words_written;
    if (out >= 0) {
      if (free.empty()) {
        free.push_back(static_cast<int64_t>(plan->word_slots.size()));
        plan->word_slots.emplace_back();
      }
      slot_of[out] = free.back();
      free.pop_back();
      plan->word_slots[slot_of[out]].planes.push_back(out);
    }
    for (size_t plane = 0; plane < n_planes; ++plane) {
      const bool is_left = last_read[plane] == static_cast<int64_t>(i) ||
                           (last_read[plane] == kNever && out == static_cast<int64_t>(plane));
      if (is_left && slot_of[plane] >= 0) {
        free.push_back(slot_of[plane]);
      }
    }
  }
}

IntPlan make_plan(const IntParts& parts, IntWordSteps steps, const std::vector<char>& handed_in) {
  IntPlan plan;
  plan.steps = std::move(steps.steps);
  plan.words = std::move(steps.words);
  take_slots(parts, handed_in, &plan);
  take_word_slots(&plan);
  return plan;
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
  switch (step.kind) {
    case IntStep::Kind::kLayer:
      for (const IntConvolution& convolution : parts.layers[step.index].convolutions) {
        sources.push_back(convolution.window.source);
      }
      for (const IntShortcutTerm& shortcut : parts.layers[step.index].shortcuts) {
        sources.push_back(shortcut.source);
      }
      return sources;
    case IntStep::Kind::kPool:
      return {parts.pools[step.index].source};
    case IntStep::Kind::kToWords:
    case IntStep::Kind::kCount:
      return {step.index};
    default:
      return {};
  }
}

int64_t writes(const IntParts& parts, const IntStep& step) {
  switch (step.kind) {
    case IntStep::Kind::kLayer:
      return parts.layers[step.index].out;
    case IntStep::Kind::kPool:
      return parts.pools[step.index].out;
    case IntStep::Kind::kEncoder:
      return parts.encoders[step.index].out;
    case IntStep::Kind::kToBytes:
      return step.index;
    default:
      return kNever;
  }
}

IntChain make_int_chain(const IntParts& parts, std::vector<IntStep> steps,
                        std::vector<int64_t> wanted, std::vector<char> counts) {
  const auto n_sources = static_cast<int64_t>(parts.sources.size());
  IntChain chain{std::move(steps), {}, std::move(wanted), std::move(counts), {}, {}};
  std::vector<char> written(n_sources, 0), read(n_sources, 0), handed_in(n_sources, 0);
  for (const IntStep& step : chain.steps) {
    for (const int64_t source : reads(parts, step)) {
      if (written[source] == 0 && read[source] == 0) {
        chain.given.push_back(source);
      }
      read[source] = 1;
    }
    const int64_t out = writes(parts, step);
    if (out >= 0) {
      TORCH_CHECK(written[out] == 0 && read[out] == 0, "_IntegerProgram.add_chain: source ", out,
                  " must be written once, and not be read before");
      written[out] = 1;
    }
  }
  for (const int64_t source : chain.wanted) {
    TORCH_CHECK(written[source] != 0, "_IntegerProgram.add_chain: source ", source,
                " is wanted, but no step writes it");
    TORCH_CHECK(handed_in[source] == 0, "_IntegerProgram.add_chain: source ", source,
                " is wanted twice");
    handed_in[source] = 1;
  }
  chain.plain = make_plan(parts, {chain.steps, {}}, handed_in);
  chain.hidden = make_plan(parts, steps_with_words(parts, chain), handed_in);
  return chain;
}

}  // namespace spikeconv::cpu
