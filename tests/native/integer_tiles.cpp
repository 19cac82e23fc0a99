// Random tiles through the integer kernels, beside the same in plain loops, with every buffer no
// larger than the kernels may touch: compiled with sanitizers by test_integer_tiles.py.
//
//     integer_tiles ISA TILES
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cpu/int_plane.h"
#include "integer_cases.h"

namespace {

// A term with memory of its own: spikes of four pixels, each with all that its runs may reach.
struct Term {
  IntTerm term{};
  std::unique_ptr<Table<uint8_t>> spikes;
  std::unique_ptr<Table<int8_t>> weights;
  std::vector<int64_t> runs;

  Term(const IntKernels& kernels, int steps, int blocks, bool channelwise) {
    const bool neighbours = !channelwise && draw(0, 1) == 1;
    const int tap = 4 * draw(1, 8);
    const int bytes = channelwise ? 1 : neighbours ? 3 * tap : draw(1, 90);
    const int n_runs = draw(1, 4), largest = draw(0, 1) == 0 ? 1 : 254;
    const int rounded = (bytes + kernels.run_bytes - 1) / kernels.run_bytes * kernels.run_bytes;
    term.n_runs = n_runs;
    term.quads = channelwise ? 1 : rounded / 4;
    term.tap = neighbours ? tap : 0;
    term.narrow = 32767 / (2 * 128 * largest);
    term.block_bytes = term.n_runs * term.quads * 64;
    const int pixel = neighbours ? tap : draw(1, 40);
    term.step = 4 * pixel + bytes + draw(0, 9);
    const int64_t row = term.step * steps;
    for (int run = 0; run < n_runs; ++run) {
      runs.push_back(run * row);
    }
    const size_t size = kSlack + row * n_runs + kSlack;
    spikes = std::make_unique<Table<uint8_t>>(draws<uint8_t>(size, 0, largest));
    std::vector<int8_t> values(term.block_bytes * blocks);
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t byte = i / 64 % term.quads * 4 + i % 4;  // of the run
      values[i] = static_cast<int8_t>(byte < static_cast<size_t>(bytes) ? draw(-128, 127) : 0);
    }
    if (channelwise) {  // int32 values of 16 or of 24 bits
      term.wide = draw(0, 1) == 1;
      const int end = term.wide ? 1 << 23 : 1 << 15;
      const auto whole = draws<int32_t>(values.size() / 4, -end, end - 1);
      std::memcpy(values.data(), whole.data(), values.size());
    }
    weights = std::make_unique<Table<int8_t>>(values);
    term.weights = weights->data;
    for (int p = 0; p < kPixels; ++p) {
      term.spikes[p] = spikes->data + kSlack + p * pixel;
    }
  }
};

uint32_t plain_term(const IntTerm& term, int t, int p, int block, int lane) {
  uint32_t sum = 0;
  const int8_t* weights = term.weights + block * term.block_bytes;
  for (int64_t run = 0; run < term.n_runs; ++run) {
    for (int64_t byte = 0; byte < 4 * term.quads; ++byte) {
      const int spike = term.spikes[p][t * term.step + term.runs[run] + byte];
      const int64_t quad = run * term.quads + byte / 4;
      sum += static_cast<uint32_t>(spike * weights[quad * 64 + lane * 4 + byte % 4]);
    }
  }
  return sum;
}

uint32_t plain_channelwise(const IntTerm& term, int t, int p, int block, int lane) {
  uint32_t sum = 0;
  for (int64_t run = 0; run < term.n_runs; ++run) {
    int32_t weight = 0;
    std::memcpy(&weight, term.weights + block * term.block_bytes + (run * kLanes + lane) * 4, 4);
    const int64_t at = t * term.step + term.runs[run] + block * kLanes + lane;
    sum += static_cast<uint32_t>(term.spikes[p][at] * weight);
  }
  return sum;
}

std::vector<int32_t> run_dot(const IntKernels& kernels, int steps, int blocks,
                             const std::function<void(const IntDot&)>& multiply) {
  std::vector<Term> terms;
  const int n_terms = draw(0, 4), n_channelwise = n_terms == 0 ? 1 : draw(0, 1);
  for (int i = 0; i < n_terms + n_channelwise; ++i) {
    terms.emplace_back(kernels, steps, blocks, i >= n_terms);
  }
  std::vector<IntTerm> plain;
  for (Term& each : terms) {
    each.term.runs = each.runs.data();
    each.term.up = !plain.empty() && draw(0, 1) == 1;
    plain.push_back(each.term);
  }
  Table<int32_t> out(std::vector<int32_t>(static_cast<size_t>(steps) * kPixels * blocks * kLanes));
  const IntDot dot{plain.data(), n_terms, plain.data() + n_terms, n_channelwise, steps,
                   blocks,       out.data};
  kernels.begin();
  if (n_terms > 0) {
    multiply(dot);
  }
  kernels.end();
  if (n_channelwise > 0) {
    kernels.dot_channelwise(dot);
  }
  std::vector<int32_t> sums;
  for (int t = 0; t < steps; ++t) {
    for (int p = 0; p < kPixels; ++p) {
      for (int block = 0; block < blocks; ++block) {
        for (int lane = 0; lane < kLanes; ++lane) {
          uint32_t sum = 0;
          for (int i = 0; i < n_terms; ++i) {
            sum = plain[i].up ? sum << 8 : sum;
            sum += plain_term(plain[i], t, p, block, lane);
          }
          for (int i = n_terms; i < n_terms + n_channelwise; ++i) {
            sum += plain_channelwise(plain[i], t, p, block, lane);
          }
          check(static_cast<uint32_t>(out.data[sums.size()]) == sum, "dot");
          sums.push_back(static_cast<int32_t>(sum));
        }
      }
    }
  }
  return sums;
}

// Alone or, where the kernels have that, beside the products of another tile.
void run_neurons(const IntKernels& kernels, const IntScan& scan) {
  bool done = false;
  if (kernels.dot_and_scan != nullptr && draw(0, 2) > 0) {
    run_dot(kernels, draw(1, kTileSteps), draw(1, kPair), [&](const IntDot& dot) {
      kernels.dot_and_scan(dot, scan);
      done = true;
    });
  }
  if (!done) {  // there may be no products
    kernels.scan(scan);
  }
}

// Coefficients as narrow neurons take them.
std::vector<int32_t> split(std::vector<int32_t> coefficients) {
  for (int32_t& coefficient : coefficients) {
    coefficient = (coefficient >> 8) * 65536 + (coefficient & 255);
  }
  return coefficients;
}

void run_scan(const IntKernels& kernels, int steps, int blocks, std::vector<int32_t> sums) {
  const int width = blocks * kLanes, channels = draw(width - kLanes + 1, width);
  const int n_shortcuts = draw(0, 3), rows = draw(1, steps + 1);
  const bool is_narrow = draw(0, 1) == 1, emits = draw(0, 7) > 0;
  if (is_narrow) {
    std::transform(sums.begin(), sums.end(), sums.begin(),
                   [](int32_t sum) { return static_cast<int16_t>(sum); });
  }
  Table<int32_t> acc(sums), theta(draws<int32_t>(width, 1, 1 << 20));
  Table<int32_t> bias(draws<int32_t>(static_cast<size_t>(rows) * width, -1000, 1 << 18));
  Table<int32_t> v(draws<int32_t>(kPixels * width, -1000, 1 << 20));
  Table<int32_t> net(draws<int32_t>(kPixels * width, 0, 3));
  std::vector<int32_t> v_plain(v.data, v.data + kPixels * width);
  std::vector<int32_t> net_plain(net.data, net.data + kPixels * width);
  std::vector<std::unique_ptr<Table<uint8_t>>> jumped;
  constexpr int kEnd = 1 << (kNarrowBits - 1);
  std::vector<std::vector<int32_t>> factors;
  std::vector<std::unique_ptr<Table<int32_t>>> coefficients;
  std::vector<IntShortcut> shortcuts(n_shortcuts);
  for (IntShortcut& shortcut : shortcuts) {
    shortcut.step = kPixels * width;
    const int largest = is_narrow ? kNarrowByte : 254;
    jumped.push_back(std::make_unique<Table<uint8_t>>(
        draws<uint8_t>(steps * shortcut.step + kSlack, 0, largest)));
    factors.push_back(draws<int32_t>(width, -kEnd, kEnd - 1));
    coefficients.push_back(
        std::make_unique<Table<int32_t>>(is_narrow ? split(factors.back()) : factors.back()));
    shortcut.coefficient = coefficients.back()->data;
    for (int p = 0; p < kPixels; ++p) {
      shortcut.spikes[p] = jumped.back()->data + p * width;
    }
  }
  Table<uint8_t> out(std::vector<uint8_t>(static_cast<size_t>(steps) * kPixels * channels, 99));
  IntScan scan{};
  scan.acc = acc.data;
  scan.steps = steps;
  scan.blocks = blocks;
  scan.shift = draw(0, 14);
  scan.is_narrow = is_narrow;
  scan.theta = theta.data;
  scan.bias_step = width;
  scan.last_bias = rows - 1;
  scan.shortcuts = shortcuts.data();
  scan.n_shortcuts = n_shortcuts;
  scan.v = v.data;
  scan.is_signed = draw(0, 1) == 1;
  const bool counts = scan.is_signed || draw(0, 1) == 1;
  scan.net_before = scan.net = counts ? net.data : nullptr;
  scan.out_step = kPixels * channels;
  scan.channels = channels;
  for (int p = 0; p < kPixels; ++p) {
    scan.bias[p] = bias.data;
    scan.v_before[p] = v.data + p * width;
    scan.out[p] = emits ? out.data + p * channels : nullptr;
  }
  run_neurons(kernels, scan);
  for (int t = 0; t < steps; ++t) {
    for (int p = 0; p < kPixels; ++p) {
      for (int c = 0; c < width; ++c) {
        int32_t& v_now = v_plain[p * width + c];
        int32_t& net_now = net_plain[p * width + c];
        uint32_t m = static_cast<uint32_t>(sums[(t * kPixels + p) * width + c]) << scan.shift;
        m += static_cast<uint32_t>(bias.data[std::min(t, rows - 1) * width + c]);
        for (int i = 0; i < n_shortcuts; ++i) {
          m += static_cast<uint32_t>(factors[i][c]) *
               shortcuts[i].spikes[p][t * shortcuts[i].step + c];
        }
        const auto now = static_cast<int32_t>(m + static_cast<uint32_t>(v_now));
        int s = now >= theta.data[c] ? 1 : 0;
        if (scan.is_signed && now < 0 && net_now > 0) {
          s = -1;
        }
        net_now += counts ? s : 0;
        v_now =
            static_cast<int32_t>(static_cast<uint32_t>(now) -
                                 static_cast<uint32_t>(theta.data[c]) * static_cast<uint32_t>(s));
        if (emits && c < channels) {
          check(out.data[(t * kPixels + p) * channels + c] == s + (scan.is_signed ? 1 : 0), "scan");
        }
      }
    }
  }
  check(std::memcmp(v.data, v_plain.data(), v_plain.size() * 4) == 0, "v");
  check(std::memcmp(net.data, net_plain.data(), net_plain.size() * 4) == 0, "net");
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    return 2;
  }
  const IntKernels kernels = kernels_of(arguments[1]);
  const int tiles = std::atoi(arguments[2]);
  for (int i = 0; i < tiles; ++i) {
    const int steps = draw(1, kTileSteps), blocks = draw(1, kPair);
    run_scan(kernels, steps, blocks, run_dot(kernels, steps, blocks, kernels.dot));
  }
  std::printf("%d\n", tiles);
  return 0;
}
