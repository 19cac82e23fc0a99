#include "cpu/int_word_steps.h"

#include <algorithm>
#include <utility>

namespace spikeconv::cpu {
namespace {

using Kind = IntStep::Kind;

class WordSteps {
 public:
  WordSteps(const IntParts& parts, const IntChain& chain)
      : parts_(parts),
        chain_(chain),
        has_bytes_(parts.sources.size(), 1),
        natural_(parts.sources.size(), kNone) {
    for (const IntStep& step : chain.steps) {
      if (writes(parts, step) >= 0) {
        has_bytes_[writes(parts, step)] = 0;
      }
    }
  }

  void add(const IntStep& step) {
    const bool looks_up = step.kind == Kind::kLayer && parts_.lookups[step.index].has_value();
    const int64_t out = writes(parts_, step);
    if (looks_up) {
      add_lookup(step, out);
    } else if (encodes_words(step)) {
      natural_[out] = new_words(plain_form(out));
      to_.steps.push_back({Kind::kEncode, step.index, step.asked, {}, natural_[out]});
    } else {
      for (const int64_t source : reads(parts_, step)) {
        need_bytes(source, step.asked);
      }
      to_.steps.push_back(step);
      if (out >= 0) {
        has_bytes_[out] = 1;
      }
    }
    if (std::find(chain_.wanted.begin(), chain_.wanted.end(), out) != chain_.wanted.end()) {
      need_bytes(out, step.asked);
    }
    if (looks_up && chain_.counts[step.asked] != 0) {
      need_bytes(out, step.asked);
      to_.steps.push_back({Kind::kCount, out, step.asked});
    }
  }

  IntWordSteps take() { return std::move(to_); }

 private:
  static constexpr int64_t kNone = -1;

  // Where no other bytes are wanted, and a layer looks its words up.
  bool encodes_words(const IntStep& step) const {
    if (step.kind != Kind::kEncoder || chain_.counts[step.asked] != 0 ||
        !can_encode_words(parts_.encoders[step.index])) {
      return false;
    }
    const int64_t out = parts_.encoders[step.index].out;
    return std::any_of(chain_.steps.begin(), chain_.steps.end(), [&](const IntStep& other) {
      const std::vector<int64_t> sources = reads(parts_, other);
      return other.kind == Kind::kLayer && parts_.lookups[other.index].has_value() &&
             std::find(sources.begin(), sources.end(), out) != sources.end();
    });
  }

  void add_lookup(const IntStep& step, int64_t out) {
    const IntLookupLayer& lookup = *parts_.lookups[step.index];
    IntStep made{Kind::kLookUp, step.index, step.asked};
    for (const IntLookupWindow& window : lookup.windows) {
      made.words_read.push_back(need_words(window.form, step.asked));
    }
    for (const IntLookupJump& jump : lookup.jumps) {
      made.words_read.push_back(need_words(jump.form, step.asked));
    }
    natural_[out] = made.words_written =
        new_words({out, 1, 1, parts_.sources[out].height, lookup.pitch});
    to_.steps.push_back(made);
  }

  IntWordForm plain_form(int64_t source) const {
    return {source, 1, 1, parts_.sources[source].height, parts_.sources[source].width};
  }

  int64_t new_words(const IntWordForm& form) {
    to_.words.push_back(form);
    return static_cast<int64_t>(to_.words.size()) - 1;
  }

  void need_bytes(int64_t source, int64_t asked) {
    if (has_bytes_[source] == 0) {
      to_.steps.push_back({Kind::kToBytes, source, asked, {natural_[source]}});
      has_bytes_[source] = 1;
    }
  }

  int64_t need_words(const IntWordForm& form, int64_t asked) {
    int64_t& natural = natural_[form.source];
    if (natural == kNone) {
      natural = new_words(plain_form(form.source));
      to_.steps.push_back({Kind::kToWords, form.source, asked, {}, natural});
    }
    const auto found = std::find(to_.words.begin(), to_.words.end(), form);
    if (found != to_.words.end()) {
      return found - to_.words.begin();
    }
    const int64_t made = new_words(form);
    to_.steps.push_back({Kind::kArrange, form.source, asked, {natural}, made});
    return made;
  }

  const IntParts& parts_;
  const IntChain& chain_;
  std::vector<char> has_bytes_;   // by source
  std::vector<int64_t> natural_;  // words with strides of 1, kNone where there are none yet
  IntWordSteps to_;
};

}  // namespace

IntWordSteps steps_with_words(const IntParts& parts, const IntChain& chain) {
  WordSteps to(parts, chain);
  for (const IntStep& step : chain.steps) {
    to.add(step);
  }
  return to.take();
}

}  // namespace spikeconv::cpu
