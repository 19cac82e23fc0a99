// Random layers whose sums are looked up, bytes that become words and back, and encoders into
// words, beside the same in plain loops, with every buffer no larger than the kernels may touch:
// compiled with sanitizers by test_integer_tiles.py.
//
//     integer_lookups ISA CASES
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

#include "integer_cases.h"

namespace {

// Words by 16 channels, step and position, and as many as a step has before and after them.
struct Words {
  int parts, steps;
  int64_t step;
  Table<uint16_t> table;

  Words(int n_parts, int n_steps, int groups)
      : parts(n_parts),
        steps(n_steps),
        step((groups + draw(0, 1)) * kPositions),
        table(fired((parts * steps + 2) * step)) {}

  static std::vector<uint16_t> fired(int64_t count) {
    const int percent = draw(0, 3) * 33;
    std::vector<uint16_t> words(count, 0);
    for (uint16_t& word : words) {
      for (int c = 0; c < kLanes; ++c) {
        word = static_cast<uint16_t>(word | (draw(1, 100) <= percent) << c);
      }
    }
    return words;
  }
  uint16_t* data() const { return table.data + step; }
  int bit(int channel, int t, int64_t position) const {
    const uint16_t word = data()[(channel / kLanes * steps + t) * step + position];
    return word >> channel % kLanes & 1;
  }
};

// A convolution: taps at any distance that stays within what may be read.
struct Term {
  int n_taps = draw(1, 5), n_edges = draw(1, n_taps), n_rows = draw(1, 4);
  Words words;
  std::vector<uint32_t> edges;
  std::vector<uint32_t> patterns;
  std::vector<int8_t> weights;  // [tap][channel][16]
  std::vector<IntLookupTap> taps;
  Table<uint16_t> inside;
  Table<uint8_t> tables;

  Term(const IntLookupKernels& kernels, int steps, int groups)
      : words(draw(1, 2), steps, groups),
        edges(draws<uint32_t>(groups * n_edges, 0, n_rows - 1)),
        patterns(patterns_of(n_rows)),
        weights(draws<int8_t>(n_taps * kLanes * kLanes, -127, 127)),  // 10 taps stay in 16 bits
        inside(rows_of(patterns)),
        tables(tables_of(kernels, weights)) {
    for (int tap = 0; tap < n_taps; ++tap) {
      const int part = draw(0, words.parts - 1), most = static_cast<int>(words.step);
      const int beyond = most - groups * kPositions;  // what a step has more
      const int at = draw(-most, part == words.parts - 1 ? most + beyond : most);
      const int table = draw(0, n_taps - 1);
      taps.push_back({part * words.steps * words.step + at, table * kLanes * kernels.table_bytes,
                      draw(0, n_edges - 1)});
    }
  }

  static std::vector<uint32_t> patterns_of(int count) {
    std::vector<uint32_t> patterns;
    for (int i = 0; i < count; ++i) {
      const auto low = static_cast<uint32_t>(draw(0, 0xffff));
      patterns.push_back(static_cast<uint32_t>(draw(0, 0xffff)) << 16 | low);
    }
    return patterns;
  }
  static std::vector<uint16_t> rows_of(const std::vector<uint32_t>& patterns) {
    std::vector<uint16_t> rows;
    for (const uint32_t pattern : patterns) {
      for (int i = 0; i < kPositions; ++i) {
        rows.push_back((pattern >> i & 1) != 0 ? 0xffff : 0);
      }
    }
    return rows;
  }
  static std::vector<uint8_t> tables_of(const IntLookupKernels& kernels,
                                        const std::vector<int8_t>& weights) {
    std::vector<uint8_t> tables(weights.size() / kLanes * kernels.table_bytes);
    for (size_t i = 0; i < weights.size() / kLanes; ++i) {
      kernels.table(weights.data() + i * kLanes, tables.data() + i * kernels.table_bytes);
    }
    return tables;
  }

  int sum(const IntLookupKernels& kernels, int channel, int group, int t, int i) const {
    int total = 0;
    for (const IntLookupTap& tap : taps) {
      if ((patterns[edges[group * n_edges + tap.edge]] >> i & 1) == 0) {
        continue;
      }
      const int64_t at = t * words.step + group * kPositions + i + tap.words;
      const uint16_t word = words.data()[at];
      const int64_t table = tap.tables / kernels.table_bytes + channel;
      for (int c = 0; c < kLanes; ++c) {
        total += weights[table * kLanes + c] * (word >> c & 1);
      }
    }
    return total;
  }
};

struct Jump {
  Words words;
  Table<int32_t> coefficient{draws<int32_t>(kLanes, -3000, 3000)};
  std::vector<int> channels;
  IntLookupShortcut shortcut{};

  Jump(int steps, int groups) : words(draw(1, 2), steps, groups) {
    shortcut.step = words.step;
    shortcut.coefficient = coefficient.data;
    for (int c = 0; c < kLanes; ++c) {
      const int channel = draw(0, words.parts * kLanes - 1);
      channels.push_back(channel);
      shortcut.words[c] = words.data() + channel / kLanes * words.steps * words.step;
      shortcut.bit[c] = 1 << channel % kLanes;
      shortcut.high_bit[c] = static_cast<int32_t>(0x10000u << channel % kLanes);
    }
  }
};

void run_layer(const IntLookupKernels& kernels) {
  const int groups = draw(1, 6), steps = draw(1, 19), rows = draw(1, steps);
  const int passes = draw(1, kMostBytes), shift = draw(0, passes == 1 ? 14 : 20);
  std::deque<Term> parts;
  std::vector<IntLookupTerm> terms;
  IntLookup lookup{};
  for (int pass = 0; pass < passes; ++pass) {
    for (int i = draw(1, 2); i > 0; --i) {
      const Term& term = parts.emplace_back(kernels, steps, groups);
      terms.push_back({term.words.data(), term.words.step, term.taps.data(), term.n_taps,
                       term.edges.data(), term.n_edges, term.inside.data, term.tables.data});
    }
    lookup.end[lookup.passes++] = static_cast<int>(terms.size());
  }
  std::deque<Jump> jumps;
  std::vector<IntLookupShortcut> shortcuts;
  for (int i = draw(0, 3); i > 0; --i) {
    shortcuts.push_back(jumps.emplace_back(steps, groups).shortcut);
  }
  const int unit = 1 << shift;
  const Table<int32_t> theta(draws<int32_t>(kLanes, 1, 300 * unit));
  const Table<int32_t> v_init(draws<int32_t>(kLanes, -300 * unit, 300 * unit));
  const Table<int32_t> bias(draws<int32_t>(rows * kLanes, -50 * unit, 50 * unit));
  const Words out(1, steps, groups);
  lookup.terms = terms.data();
  lookup.shortcuts = shortcuts.data();
  lookup.n_shortcuts = static_cast<int>(shortcuts.size());
  lookup.groups = groups;
  lookup.steps = steps;
  lookup.shift = shift;
  lookup.theta = theta.data;
  lookup.v_init = v_init.data;
  lookup.bias = bias.data;
  lookup.bias_step = kLanes;
  lookup.last_bias = rows - 1;
  lookup.out = out.data();
  lookup.out_step = out.step;
  kernels.run(lookup);
  for (int n = 0; n < kLanes * groups * kPositions; ++n) {
    const int c = n % kLanes, group = n / kLanes / kPositions, i = n / kLanes % kPositions;
    uint32_t v = static_cast<uint32_t>(v_init.data[c]);
    for (int t = 0; t < steps; ++t) {
      uint32_t sum = 0;
      for (int pass = 0, term = 0; pass < lookup.passes; ++pass) {
        for (sum *= 256; term < lookup.end[pass]; ++term) {
          sum += static_cast<uint32_t>(parts[term].sum(kernels, c, group, t, i));
        }
      }
      v += sum << shift;
      v += static_cast<uint32_t>(bias.data[std::min(t, rows - 1) * kLanes + c]);
      for (const Jump& jump : jumps) {
        const int spike = jump.words.bit(jump.channels[c], t, group * kPositions + i);
        v += static_cast<uint32_t>(jump.coefficient.data[c] * spike);
      }
      const bool fires = static_cast<int32_t>(v) >= theta.data[c];
      v -= fires ? static_cast<uint32_t>(theta.data[c]) : 0;
      check(out.bit(c, t, group * kPositions + i) == fires, "a layer");
    }
  }
}

// Rows of bytes with a block that may not be whole.
void run_conversion(const IntLookupKernels& kernels) {
  const int pixels = draw(1, 70), channels = draw(1, kLanes), apart = channels + draw(0, 40);
  const std::vector<uint16_t> words = draws<uint16_t>(pixels, 0, (1 << channels) - 1);
  std::vector<uint8_t> bytes((pixels - 1) * apart + channels, 7);
  kernels.to_bytes(words.data(), pixels, channels, bytes.data(), apart);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int c = static_cast<int>(i) % apart;
    check(bytes[i] == (c < channels ? words[i / apart] >> c & 1 : 7), "bytes");
    bytes[i] = c < channels ? bytes[i] : 0;
  }
  bytes.resize(bytes.size() + kLanes - channels);  // what may be read
  std::vector<uint16_t> again(pixels);
  kernels.to_words(bytes.data(), pixels, apart, again.data());
  for (int x = 0; x < pixels; ++x) {
    const int known = (1 << std::min(channels, apart)) - 1;
    check((again[x] & known) == words[x], "words");
  }
}

void run_encoder(const IntLookupKernels& kernels) {
  const int pixels = draw(1, 70), channels = draw(1, kLanes), steps = draw(1, 35);
  const int rows = draw(1, steps), channel = pixels + draw(0, 3), step = pixels + draw(0, 5);
  const auto reals = [](int count, int low, int high) {
    std::vector<float> values;
    for (const int value : draws<int>(count, low, high)) {
      values.push_back(static_cast<float>(value) / 64);
    }
    return values;
  };
  const std::vector<float> x = reals((channels - 1) * channel + pixels, -60, 60);
  const std::vector<float> theta = reals(kLanes, 1, 90), v_init = reals(kLanes, -60, 60);
  const std::vector<float> bias = reals(rows * kLanes, -20, 20);
  std::vector<uint16_t> out((steps - 1) * step + pixels);
  kernels.encode({pixels, channels, steps, x.data(), channel, theta.data(), v_init.data(),
                  bias.data(), kLanes, rows - 1, out.data(), step});
  for (int n = 0; n < pixels * channels; ++n) {
    const int p = n / channels, c = n % channels;
    float v = v_init[c];
    for (int t = 0; t < steps; ++t) {
      v = v + x[c * channel + p] + bias[std::min(t, rows - 1) * kLanes + c];
      const bool fires = v >= theta[c];
      v -= fires ? theta[c] : 0.0f;
      check((out[t * step + p] >> c & 1) == fires, "an encoder");
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    return 2;
  }
  const IntKernels kernels = kernels_of(arguments[1]);
  const int cases = kernels.lookups.run == nullptr ? 0 : std::atoi(arguments[2]);
  for (int i = 0; i < cases; ++i) {
    run_layer(kernels.lookups);
    run_conversion(kernels.lookups);
    run_encoder(kernels.lookups);
  }
  std::printf("%d\n", cases);
  return 0;
}
