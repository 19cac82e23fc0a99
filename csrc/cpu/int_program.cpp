#include "cpu/int_program.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "cpu/int_run.h"
#include "cpu/int_train.h"
#include "cpu/isa.h"

namespace spikeconv::cpu {
namespace {

constexpr char kClass[] = "_IntegerProgram";

// Sizes and halos stay far from where products of them overflow.
constexpr int64_t kLargestSize = int64_t{1} << 20;

// Products of a byte and a weight that are worth a thread of their own.
constexpr int64_t kGrainProducts = int64_t{1} << 21;

int64_t checked(const char* method, const char* name, int64_t value, int64_t least, int64_t most) {
  TORCH_CHECK(value >= least && value <= most, kClass, ".", method, ": ", name, " must be from ",
              least, " to ", most, ", got ", value);
  return value;
}

template <class Element>
const Element& at(const char* method, const char* name, const std::vector<Element>& list,
                  int64_t index) {
  TORCH_CHECK(index >= 0 && index < static_cast<int64_t>(list.size()), kClass, ".", method,
              ": there is no ", name, " ", index, ", but ", list.size());
  return list[index];
}

const int32_t* table_of(const std::optional<at::Tensor>& table) {
  return table.has_value() ? table->const_data_ptr<int32_t>() : nullptr;
}

int32_t* results_of(const std::optional<at::Tensor>& table) {
  return table.has_value() ? table->mutable_data_ptr<int32_t>() : nullptr;
}

// Quads of all images, and blocks of channels where there are too few of those for all threads.
void run_in_parallel(const IntRun& run, int64_t images) {
  const IntLayer& layer = run.layer;
  const int64_t quads = quads_of(layer.pixels());
  const int64_t pairs = (layer.blocks + kBlocks - 1) / kBlocks;
  const int64_t wanted = int64_t{8} * at::get_num_threads();
  const int64_t shares = std::clamp<int64_t>(
      (wanted + images * quads - 1) / std::max<int64_t>(1, images * quads), 1, pairs);
  int64_t products = 0;
  for (const IntConvolution& convolution : layer.convolutions) {
    products += convolution.block_bytes() * layer.blocks;
  }
  products = std::max<int64_t>(1, products * kPixels * run.steps / shares);
  const int64_t grain = std::max<int64_t>(1, kGrainProducts / products);
  at::parallel_for(0, images * shares * quads, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t quad = begin % quads;
      const int64_t share = begin / quads % shares;
      const int64_t last = std::min(quads, quad + end - begin);
      run_layer(run, begin / quads / shares, quad, last,
                std::min(layer.blocks, pairs * share / shares * kBlocks),
                std::min(layer.blocks, pairs * (share + 1) / shares * kBlocks));
      begin += last - quad;
    }
  });
}

}  // namespace

IntegerProgram::IntegerProgram(std::string isa)
    : isa_(isa.empty() ? isa_name() : std::move(isa)), kernels_(int_kernels(isa_)) {}

const IntSource& IntegerProgram::source(const char* method, int64_t index) const {
  return at(method, "source", sources_, index);
}

void IntegerProgram::check_plane(const char* method, const IntSource& source,
                                 const at::Tensor& plane, int64_t images, int64_t steps) const {
  TORCH_CHECK(plane.defined() && plane.device().is_cpu() && plane.scalar_type() == at::kByte &&
                  plane.is_contiguous(),
              kClass, ".", method, ": a plane must be a dense uint8 tensor on the CPU");
  checked(method, "images", images, 0, kLargestSize);
  checked(method, "steps", steps, 1, kLargestSize);
  const double bytes = static_cast<double>(images) * static_cast<double>(steps) *
                       static_cast<double>(source.rows() * source.step_bytes());
  TORCH_CHECK(bytes < 1e18 && plane.numel() == source.plane_bytes(images, steps), kClass, ".",
              method, ": a plane of ", images, " images and ", steps, " steps must have ", bytes,
              " bytes and ", 2 * kSlack, ", got ", plane.numel());
}

int64_t IntegerProgram::add_source(std::vector<int64_t> shape, int64_t largest, bool is_signed,
                                   std::vector<int64_t> halo) {
  TORCH_CHECK(shape.size() == 3 && halo.size() == 4, kClass,
              ".add_source: shape must have 3 numbers and halo 4, got ", shape, " and ", halo);
  for (const int64_t size : shape) {
    checked("add_source", "shape's entries", size, 1, kLargestSize);
  }
  for (const int64_t size : halo) {
    checked("add_source", "halo's entries", size, 0, kLargestSize);
  }
  checked("add_source", "largest", largest, 1, 127);
  const IntSource source{shape[0], shape[1], shape[2], largest, is_signed,
                         halo[0],  halo[1],  halo[2],  halo[3]};
  const double bytes = static_cast<double>(source.rows()) * static_cast<double>(source.columns()) *
                       static_cast<double>(source.channels);
  TORCH_CHECK(bytes < 1e12, kClass, ".add_source: an image must have less than 1e12 values, got ",
              bytes);
  sources_.push_back(source);
  return static_cast<int64_t>(sources_.size()) - 1;
}

int64_t IntegerProgram::add_layer(std::vector<int64_t> shape, int64_t out, int64_t shift,
                                  at::Tensor theta, at::Tensor v_init, at::Tensor bias,
                                  bool is_signed, std::vector<at::Tensor> weights,
                                  std::vector<int64_t> windows,
                                  std::vector<at::Tensor> coefficients,
                                  std::vector<int64_t> places) {
  layers_.push_back(make_int_layer(
      sources_,
      {shape, out, shift, theta, v_init, bias, is_signed, weights, windows, coefficients, places},
      kernels_.run_bytes));
  return static_cast<int64_t>(layers_.size()) - 1;
}

int64_t IntegerProgram::add_pool(int64_t source, int64_t out, std::vector<int64_t> window) {
  this->source("add_pool", source);
  this->source("add_pool", out);
  pools_.push_back(make_int_pool(sources_, source, out, window));
  return static_cast<int64_t>(pools_.size()) - 1;
}

at::Tensor IntegerProgram::new_plane(int64_t source, int64_t images, int64_t steps) const {
  const IntSource& of = this->source("new_plane", source);
  checked("new_plane", "images", images, 0, kLargestSize);
  checked("new_plane", "steps", steps, 1, kLargestSize);
  const double bytes = static_cast<double>(images) * static_cast<double>(steps) *
                       static_cast<double>(of.rows() * of.step_bytes());
  TORCH_CHECK(bytes < 1e18, kClass, ".new_plane: a plane of ", bytes, " bytes is too large");
  return at::full({of.plane_bytes(images, steps)}, of.zero(), at::kByte);
}

void IntegerProgram::pack(int64_t source, const at::Tensor& train, const at::Tensor& plane) const {
  const IntSource& to = this->source("pack", source);
  TORCH_CHECK(train.defined() && train.device().is_cpu() && train.layout() == at::kStrided &&
                  train.dim() == 5 && train.size(2) == to.channels && train.size(3) == to.height &&
                  train.size(4) == to.width,
              kClass, ".pack: train must be [T, B, ", to.channels, ", ", to.height, ", ", to.width,
              "] on the CPU, got ", train.sizes());
  check_plane("pack", to, plane, train.size(1), train.size(0));
  pack_train(to, train, plane_of(to, plane.mutable_data_ptr<uint8_t>(), train.size(0)));
}

at::Tensor IntegerProgram::unpack(int64_t source, const at::Tensor& plane, int64_t images,
                                  int64_t steps) const {
  const IntSource& from = this->source("unpack", source);
  check_plane("unpack", from, plane, images, steps);
  at::Tensor train = at::empty({steps, images, from.channels, from.height, from.width}, at::kChar);
  unpack_train(from, plane_of(from, plane.const_data_ptr<uint8_t>(), steps), train);
  return train;
}

void IntegerProgram::run_pool(int64_t pool, const at::Tensor& plane, const at::Tensor& out,
                              int64_t images, int64_t steps) const {
  const IntPool& of = at("run_pool", "pool", pools_, pool);
  const IntSource& from = sources_[of.source];
  const IntSource& to = sources_[of.out];
  check_plane("run_pool", from, plane, images, steps);
  check_plane("run_pool", to, out, images, steps);
  const auto source = plane_of(from, plane.const_data_ptr<uint8_t>(), steps);
  const auto target = plane_of(to, out.mutable_data_ptr<uint8_t>(), steps);
  at::parallel_for(0, images * to.height, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      run_pool_row(of, sources_, source, target, steps, i / to.height, i % to.height);
    }
  });
}

std::tuple<std::optional<at::Tensor>, std::optional<at::Tensor>, std::optional<at::Tensor>>
IntegerProgram::run_layer(int64_t layer, std::vector<at::Tensor> planes,
                          const std::optional<at::Tensor>& out, int64_t images, int64_t steps,
                          int64_t done, const std::optional<at::Tensor>& v,
                          const std::optional<at::Tensor>& net, bool want_count,
                          bool want_state) const {
  const char* method = "run_layer";
  const IntLayer& of = at(method, "layer", layers_, layer);
  const std::vector<int64_t> shape = {images, of.height, of.width, of.channels};
  for (const auto& table : {v, net}) {
    TORCH_CHECK(!table.has_value() || (table->device().is_cpu() && table->is_contiguous() &&
                                       table->scalar_type() == at::kInt && table->sizes() == shape),
                kClass, ".run_layer: v and net must be dense int32 ", shape, " on the CPU");
  }
  TORCH_CHECK(net.has_value() == (v.has_value() && of.is_signed), kClass,
              ".run_layer: net must be given together with v where neurons are signed");
  checked(method, "done", done, 0, std::numeric_limits<int32_t>::max());
  checked(method, "images", images, 0, kLargestSize);
  checked(method, "steps", steps, 1, kLargestSize);
  IntRun run{kernels_, of, sources_, steps, done, {}};
  run.planes.resize(sources_.size());
  std::vector<int64_t> read;
  for (const IntConvolution& convolution : of.convolutions) {
    read.push_back(convolution.window.source);
  }
  for (const IntShortcutTerm& shortcut : of.shortcuts) {
    read.push_back(shortcut.source);
  }
  TORCH_CHECK(planes.size() == read.size(), kClass, ".run_layer: planes must be ", read.size(),
              ", got ", planes.size());
  for (size_t i = 0; i < read.size(); ++i) {
    const IntSource& source = sources_[read[i]];
    check_plane(method, source, planes[i], images, steps);
    run.planes[read[i]] = plane_of(source, planes[i].const_data_ptr<uint8_t>(), steps);
  }
  run.emits = out.has_value();
  if (out.has_value()) {
    const IntSource& source = this->source(method, of.out);
    check_plane(method, source, *out, images, steps);
    for (const at::Tensor& plane : planes) {
      TORCH_CHECK(!plane.is_alias_of(*out), kClass, ".run_layer: out must not be a plane it reads");
    }
    run.out = plane_of(source, out->mutable_data_ptr<uint8_t>(), steps);
  }
  std::optional<at::Tensor> count, v_after, net_after;
  if (want_count) {
    count = at::empty(shape, at::kInt);
  }
  if (want_state) {
    v_after = at::empty(shape, at::kInt);
    if (of.is_signed) {
      net_after = at::empty(shape, at::kInt);
    }
  }
  run.v_before = table_of(v);
  run.net_before = table_of(net);
  run.v = results_of(v_after);
  run.net = results_of(net_after);
  run.count = results_of(count);
  run.prepare();
  run_in_parallel(run, images);
  return {count, v_after, net_after};
}

TORCH_LIBRARY_FRAGMENT(spikeconv, library) {
  library.class_<IntegerProgram>(kClass)
      .def(torch::init<std::string>())
      .def("isa", &IntegerProgram::isa)
      .def("add_source", &IntegerProgram::add_source)
      .def("add_layer", &IntegerProgram::add_layer)
      .def("add_pool", &IntegerProgram::add_pool)
      .def("new_plane", &IntegerProgram::new_plane)
      .def("pack", &IntegerProgram::pack)
      .def("unpack", &IntegerProgram::unpack)
      .def("run_pool", &IntegerProgram::run_pool)
      .def("run_layer", &IntegerProgram::run_layer);
}

}  // namespace spikeconv::cpu
