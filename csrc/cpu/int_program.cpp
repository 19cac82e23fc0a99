#include "cpu/int_program.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <limits>
#include <utility>

#include "cpu/int_arguments.h"
#include "cpu/int_sizes.h"
#include "cpu/int_train.h"
#include "cpu/int_worker.h"
#include "cpu/isa.h"

namespace spikeconv::cpu {

IntegerProgram::IntegerProgram(std::string isa, const std::string& sums)
    : isa_(isa.empty() ? isa_name() : std::move(isa)),
      parts_{int_kernels(isa_, sums), {}, {}, {}, {}, {}} {}

int64_t IntegerProgram::bare(int64_t rounds) const {
  parts_.kernels.begin();
  const int64_t products = parts_.kernels.bare(rounds);
  parts_.kernels.end();
  return products;
}

const IntSource& IntegerProgram::source(const char* method, int64_t index) const {
  return at(method, "source", parts_.sources, index);
}

const IntChain& IntegerProgram::chain(const char* method, int64_t index) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return at(method, "chain", chains_, index);
}

int64_t IntegerProgram::add_source(std::vector<int64_t> shape, int64_t largest, bool is_signed,
                                   std::vector<int64_t> halo, bool is_static) {
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
                         halo[0],  halo[1],  halo[2],  halo[3], is_static};
  const double bytes = static_cast<double>(source.rows()) * static_cast<double>(source.columns()) *
                       static_cast<double>(source.channels);
  TORCH_CHECK(bytes < 1e12, kClass, ".add_source: an image must have less than 1e12 values, got ",
              bytes);
  parts_.sources.push_back(source);
  return static_cast<int64_t>(parts_.sources.size()) - 1;
}

int64_t IntegerProgram::add_layer(std::vector<int64_t> shape, int64_t out, int64_t shift,
                                  at::Tensor theta, at::Tensor v_init, at::Tensor bias,
                                  bool is_signed, std::vector<at::Tensor> weights,
                                  std::vector<int64_t> windows,
                                  std::vector<at::Tensor> coefficients,
                                  std::vector<int64_t> places) {
  parts_.layers.push_back(make_int_layer(
      parts_.sources,
      {shape, out, shift, theta, v_init, bias, is_signed, weights, windows, coefficients, places},
      parts_.kernels));
  parts_.lookups.push_back(
      make_lookup_layer(parts_.sources, parts_.layers.back(), weights, parts_.kernels.lookups));
  return static_cast<int64_t>(parts_.layers.size()) - 1;
}

int64_t IntegerProgram::add_pool(int64_t source, int64_t out, std::vector<int64_t> window) {
  this->source("add_pool", source);
  this->source("add_pool", out);
  parts_.pools.push_back(make_int_pool(parts_.sources, source, out, window));
  return static_cast<int64_t>(parts_.pools.size()) - 1;
}

at::Tensor IntegerProgram::new_plane(int64_t source, int64_t images, int64_t steps) const {
  const IntSource& of = this->source("new_plane", source);
  check_plane_size("new_plane", of, images, steps);
  return at::full({of.plane_bytes(images, steps)}, of.zero(), at::kByte);
}

void IntegerProgram::pack(int64_t source, const at::Tensor& train, const at::Tensor& plane) const {
  const IntSource& to = this->source("pack", source);
  TORCH_CHECK(train.defined() && train.device().is_cpu() && train.layout() == at::kStrided &&
                  train.dim() == 5 && train.size(2) == to.channels && train.size(3) == to.height &&
                  train.size(4) == to.width,
              kClass, ".pack: train must be [T, B, ", to.channels, ", ", to.height, ", ", to.width,
              "] on the CPU, got ", train.sizes());
  TORCH_CHECK(!to.is_static || train.size(0) == 1, kClass,
              ".pack: a static source has a train of one step, got ", train.size(0));
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

int64_t IntegerProgram::add_encoder(int64_t out, at::Tensor theta, at::Tensor v_init,
                                    std::optional<at::Tensor> bias) {
  this->source("add_encoder", out);
  parts_.encoders.push_back(make_int_encoder(parts_.sources, out, theta, v_init, bias));
  return static_cast<int64_t>(parts_.encoders.size()) - 1;
}

int64_t IntegerProgram::add_chain(std::vector<int64_t> kinds, std::vector<int64_t> numbers,
                                  std::vector<int64_t> wanted, std::vector<int64_t> counted) {
  const char* method = "add_chain";
  TORCH_CHECK(kinds.size() == numbers.size() && !kinds.empty(), kClass,
              ".add_chain: kinds and numbers must be as many, and one or more, got ", kinds.size(),
              " and ", numbers.size());
  std::vector<IntStep> steps;
  std::vector<char> counts(kinds.size(), 0);
  for (size_t i = 0; i < kinds.size(); ++i) {
    const auto kind = static_cast<IntStep::Kind>(checked(method, "kinds", kinds[i], 0, 2));
    const size_t there[] = {parts_.layers.size(), parts_.pools.size(), parts_.encoders.size()};
    checked(method, "numbers", numbers[i], 0, static_cast<int64_t>(there[kinds[i]]) - 1);
    steps.push_back({kind, numbers[i], static_cast<int64_t>(i)});
  }
  for (const int64_t source : wanted) {
    this->source(method, source);
  }
  for (const int64_t step : counted) {
    checked(method, "counted", step, 0, static_cast<int64_t>(steps.size()) - 1);
    TORCH_CHECK(steps[step].kind != IntStep::Kind::kPool, kClass, ".add_chain: pools do not count");
    counts[step] = 1;
  }
  IntChain made = make_int_chain(parts_, std::move(steps), std::move(wanted), std::move(counts));
  const std::lock_guard<std::mutex> lock(mutex_);
  chains_.push_back(std::move(made));
  return static_cast<int64_t>(chains_.size()) - 1;
}

bool IntegerProgram::looks_up(int64_t layer) const {
  return at("looks_up", "layer", parts_.lookups, layer).has_value();
}

std::vector<int64_t> IntegerProgram::given(int64_t chain) {
  return this->chain("given", chain).given;
}

int64_t IntegerProgram::memory(int64_t chain, int64_t steps) {
  const IntChain& of = this->chain("memory", chain);
  checked("memory", "steps", steps, 1, kLargestSize);
  return arena_bytes(parts_, of.hidden, steps) * images_together(parts_, of.hidden, steps);
}

std::tuple<std::vector<at::Tensor>, std::vector<at::Tensor>, std::vector<at::Tensor>>
IntegerProgram::run_chain(int64_t chain, std::vector<at::Tensor> planes,
                          std::vector<at::Tensor> currents, int64_t images, int64_t steps,
                          int64_t done, std::vector<at::Tensor> v, std::vector<at::Tensor> net,
                          bool want_state) {
  const char* method = "run_chain";
  const IntChain& of = this->chain(method, chain);
  checked(method, "images", images, 0, kLargestSize);
  checked(method, "steps", steps, 1, kLargestSize);
  checked(method, "done", done, 0, std::numeric_limits<int32_t>::max());
  const bool is_hidden = done == 0 && v.empty() && net.empty() && !want_state;
  IntChainCall call{parts_, is_hidden ? of.hidden : of.plain, images, steps, done, {}, {}, {}};
  call.planes.resize(parts_.sources.size());
  std::vector<int64_t> handed_in = of.given;
  handed_in.insert(handed_in.end(), of.wanted.begin(), of.wanted.end());
  TORCH_CHECK(planes.size() == handed_in.size(), kClass, ".run_chain: planes must be ",
              handed_in.size(), ", got ", planes.size());
  for (size_t i = 0; i < planes.size(); ++i) {
    const IntSource& source = parts_.sources[handed_in[i]];
    check_plane(method, source, planes[i], images, steps);
    for (size_t j = 0; j < i && i >= of.given.size(); ++j) {
      TORCH_CHECK(!planes[i].is_alias_of(planes[j]), kClass,
                  ".run_chain: a plane that is written must be no other plane");
    }
    call.planes[handed_in[i]] = plane_of(source, planes[i].mutable_data_ptr<uint8_t>(), steps);
  }
  std::tuple<std::vector<at::Tensor>, std::vector<at::Tensor>, std::vector<at::Tensor>> results;
  auto& [counts, v_after, net_after] = results;
  size_t current = 0, v_read = 0, net_read = 0;
  for (size_t i = 0; i < of.steps.size(); ++i) {
    const IntStep& step = of.steps[i];
    at::Tensor& x = call.currents.emplace_back();
    IntTables& tables = call.tables.emplace_back();
    if (step.kind == IntStep::Kind::kPool) {
      continue;
    }
    const bool encodes = step.kind == IntStep::Kind::kEncoder;
    std::vector<int64_t> shape;
    bool is_signed = false;
    if (encodes) {
      const IntSource& out = parts_.sources[parts_.encoders[step.index].out];
      shape = {images, out.height, out.width, out.channels};
      is_signed = out.is_signed;
      TORCH_CHECK(current < currents.size(), kClass, ".run_chain: currents must be more than ",
                  currents.size());
      x = currents[current++];
      TORCH_CHECK(x.defined() && x.device().is_cpu() && x.layout() == at::kStrided &&
                      x.scalar_type() == at::kFloat && x.dim() == 4 && x.size(0) == images &&
                      x.size(1) == out.channels && x.size(2) == out.height &&
                      x.size(3) == out.width,
                  kClass, ".run_chain: a current must be float32 [", images, ", ", out.channels,
                  ", ", out.height, ", ", out.width, "] on the CPU, got ", x.sizes());
    } else {
      const IntLayer& layer = parts_.layers[step.index];
      shape = {images, layer.height, layer.width, layer.channels};
      is_signed = layer.is_signed;
    }
    const at::ScalarType dtype = encodes ? at::kFloat : at::kInt;
    if (!v.empty()) {
      tables.v_before = next_table("v", v, &v_read, shape, dtype);
      if (is_signed) {
        tables.net_before = next_table("net", net, &net_read, shape, at::kInt);
      }
    }
    if (want_state) {
      tables.v = v_after.emplace_back(at::empty(shape, dtype));
      if (is_signed) {
        tables.net = net_after.emplace_back(at::empty(shape, at::kInt));
      }
    }
    if (of.counts[i] != 0) {
      tables.count = counts.emplace_back(at::empty(shape, at::kInt));
    }
  }
  check_all_used("currents", currents, current);
  check_all_used("v", v, v_read);
  check_all_used("net", net, net_read);
  cpu::run_chain(call, arenas_);
  return results;
}

TORCH_LIBRARY_FRAGMENT(spikeconv, library) {
  library.class_<IntegerProgram>(kClass)
      .def(torch::init<std::string, std::string>())
      .def("isa", &IntegerProgram::isa)
      .def("bare", &IntegerProgram::bare)
      .def("add_source", &IntegerProgram::add_source)
      .def("add_layer", &IntegerProgram::add_layer)
      .def("add_pool", &IntegerProgram::add_pool)
      .def("new_plane", &IntegerProgram::new_plane)
      .def("pack", &IntegerProgram::pack)
      .def("unpack", &IntegerProgram::unpack)
      .def("add_encoder", &IntegerProgram::add_encoder)
      .def("add_chain", &IntegerProgram::add_chain)
      .def("looks_up", &IntegerProgram::looks_up)
      .def("given", &IntegerProgram::given)
      .def("memory", &IntegerProgram::memory)
      .def("run_chain", &IntegerProgram::run_chain);
}

}  // namespace spikeconv::cpu
