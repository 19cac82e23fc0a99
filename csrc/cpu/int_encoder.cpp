#include "cpu/int_encoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "cpu/int_room.h"
#include "if_neuron.h"

namespace spikeconv::cpu {
namespace {

constexpr char kName[] = "_IntegerProgram.add_encoder";

// From [lead, C or 1, H or 1, W or 1] to [lead][1 or H * W][padded].
at::Tensor channels_last(const char* name, const at::Tensor& given, const IntSource& source,
                         float beyond) {
  TORCH_CHECK(given.defined() && given.device().is_cpu() && given.scalar_type() == at::kFloat &&
                  given.dim() == 4 && given.size(0) >= 1,
              kName, ": ", name, " must be float32 [rows, C, H, W] on the CPU");
  const int64_t sizes[] = {source.channels, source.height, source.width};
  for (int i = 0; i < 3; ++i) {
    TORCH_CHECK(given.size(i + 1) == 1 || given.size(i + 1) == sizes[i], kName, ": ", name,
                " must broadcast to ", at::IntArrayRef(sizes), ", got ", given.sizes());
  }
  const int64_t rows = given.size(0);
  const bool per_neuron = given.size(2) > 1 || given.size(3) > 1;
  const int64_t pixels = per_neuron ? source.height * source.width : 1;
  const at::Tensor full = given
                              .expand({rows, source.channels, per_neuron ? source.height : 1,
                                       per_neuron ? source.width : 1})
                              .reshape({rows, source.channels, pixels})
                              .transpose(1, 2);
  const int64_t padded = (source.channels + kLanes - 1) / kLanes * kLanes;
  at::Tensor to = at::full({rows, pixels, padded}, beyond, given.options());
  to.slice(2, 0, source.channels).copy_(full);
  return to;
}

// A block of channels of neighbouring pixels of one row.
struct Part {
  const IntEncoderRun& run;
  int64_t image, y, x, channel;
  int pixels, channels;

  int64_t entry(int p) const {
    const IntSource& source = *run.source;
    return (((image * source.height + y) * source.width) + x + p) * source.channels + channel;
  }

  template <class Value>
  void load(const Value* table, Value (&rows)[kEncodePixels * kLanes]) const {
    for (int p = 0; p < pixels; ++p) {
      std::memcpy(rows + p * kLanes, table + entry(p), channels * sizeof(Value));
    }
  }

  template <class Value>
  void store(const Value (&rows)[kEncodePixels * kLanes], Value* table) const {
    for (int p = 0; p < pixels; ++p) {
      std::memcpy(table + entry(p), rows + p * kLanes, channels * sizeof(Value));
    }
  }

  void load_current(float (&rows)[kEncodePixels * kLanes]) const {
    const float* from =
        run.x + image * run.stride_b + channel * run.stride_c + y * run.stride_y + x * run.stride_x;
    for (int c = 0; c < channels; ++c) {
      for (int p = 0; p < pixels; ++p) {
        rows[p * kLanes + c] = from[c * run.stride_c + p * run.stride_x];
      }
    }
  }

  // Where a table [1 or pixels][channels] has this part, and the distance to the next pixel.
  const float* find(const at::Tensor& table, int64_t* pixel) const {
    *pixel = table.size(1) == 1 ? 0 : table.size(2);
    return table.const_data_ptr<float>() + (y * run.source->width + x) * *pixel + channel;
  }

  void start(float (&v)[kEncodePixels * kLanes], int32_t (&net)[kEncodePixels * kLanes]) const {
    if (run.v_before != nullptr) {
      load(run.v_before, v);
    } else {
      int64_t pixel = 0;
      const float* v_init = find(run.encoder->v_init, &pixel);
      for (int p = 0; p < pixels; ++p) {
        std::memcpy(v + p * kLanes, v_init + p * pixel, kLanes * sizeof(float));
      }
    }
    if (run.net_before != nullptr) {
      load(run.net_before, net);
    }
  }

  void encode() const {
    const IntEncoder& encoder = *run.encoder;
    alignas(64) float current[kEncodePixels * kLanes] = {};
    alignas(64) float v[kEncodePixels * kLanes] = {};
    alignas(64) int32_t net[kEncodePixels * kLanes] = {};
    alignas(64) int32_t count[kEncodePixels * kLanes];
    load_current(current);
    start(v, net);
    IntEncode e{};
    e.pixels = pixels;
    e.channels = channels;
    e.steps = static_cast<int>(run.steps);
    e.is_signed = encoder.is_signed;
    e.x = current;
    e.theta = find(encoder.theta, &e.theta_pixel);
    const int64_t last_row = encoder.bias.size(0) - 1;
    const int64_t row = std::min(run.done, last_row);
    e.bias_step = encoder.bias.stride(0);
    e.bias = find(encoder.bias, &e.bias_pixel) + row * e.bias_step;
    e.last_bias = static_cast<int>(std::min(last_row - row, run.steps));
    e.v = v;
    e.net = net;
    e.count = count;
    if (run.emits) {
      e.out = run.out.at(*run.source, image, y, x) + channel;
      e.out_pixel = run.out.pixel;
      e.out_step = run.out.step;
    }
    run.kernels->encode(e);
    if (run.v != nullptr) {
      store(v, run.v);
    }
    if (run.net != nullptr) {
      store(net, run.net);
    }
    if (run.count != nullptr) {
      store(count, run.count);
    }
  }
};

}  // namespace

IntEncoder make_int_encoder(const std::vector<IntSource>& sources, int64_t out,
                            const at::Tensor& theta, const at::Tensor& v_init,
                            const std::optional<at::Tensor>& bias) {
  const IntSource& source = sources[out];
  TORCH_CHECK(source.largest == 1 && !source.is_static, kName, ": source ", out,
              " must be a population");
  IntEncoder encoder{out,
                     source.is_signed,
                     channels_last("theta", theta, source, 1.0f),
                     channels_last("v_init", v_init, source, 0.0f),
                     {}};
  TORCH_CHECK(theta.size(0) == 1 && v_init.size(0) == 1, kName,
              ": theta and v_init must have one row");
  encoder.bias = channels_last(
      "bias", bias.has_value() ? *bias : at::full({1, 1, 1, 1}, kNoBias, at::kFloat), source, 0.0f);
  return encoder;
}

void run_encoder_row(const IntEncoderRun& run, int64_t image, int64_t y) {
  const IntSource& source = *run.source;
  for (int64_t x = 0; x < source.width; x += kEncodePixels) {
    const auto pixels = static_cast<int>(std::min<int64_t>(kEncodePixels, source.width - x));
    for (int64_t channel = 0; channel < source.channels; channel += kLanes) {
      const auto channels = static_cast<int>(std::min<int64_t>(kLanes, source.channels - channel));
      Part{run, image, y, x, channel, pixels, channels}.encode();
    }
  }
}

bool can_encode_words(const IntEncoder& encoder) {
  return !encoder.is_signed && encoder.theta.size(1) == 1 && encoder.v_init.size(1) == 1 &&
         encoder.bias.size(1) == 1;
}

void encode_row_in_words(const IntEncoderRun& run, const IntWordPlane& to, int64_t image,
                         int64_t y) {
  const IntEncoder& encoder = *run.encoder;
  const IntSource& source = *run.source;
  static thread_local IntRoom<float, 1024> row;  // where the current's pixels are no neighbours
  if (run.stride_x != 1) {
    row.grow(kLanes * source.width);
  }
  IntEncodeWords e{};
  e.pixels = static_cast<int>(source.width);
  e.steps = static_cast<int>(run.steps);
  e.bias_step = encoder.bias.stride(0);
  e.last_bias = static_cast<int>(std::min(encoder.bias.size(0), run.steps) - 1);
  e.out_step = to.step;
  for (int64_t channel = 0; channel < source.channels; channel += kLanes) {
    e.channels = static_cast<int>(std::min<int64_t>(kLanes, source.channels - channel));
    e.x = run.x + image * run.stride_b + channel * run.stride_c + y * run.stride_y;
    e.channel = run.stride_c;
    if (run.stride_x != 1) {
      for (int64_t x = 0; x < source.width; ++x) {
        for (int64_t c = 0; c < e.channels; ++c) {
          row.data()[c * source.width + x] = e.x[x * run.stride_x + c * run.stride_c];
        }
      }
      e.x = row.data();
      e.channel = source.width;
    }
    e.theta = encoder.theta.const_data_ptr<float>() + channel;
    e.v_init = encoder.v_init.const_data_ptr<float>() + channel;
    e.bias = encoder.bias.const_data_ptr<float>() + channel;
    e.out = to.data + to.place(y, 0) + channel / kLanes * to.part;
    run.kernels->lookups.encode(e);
  }
}

}  // namespace spikeconv::cpu
