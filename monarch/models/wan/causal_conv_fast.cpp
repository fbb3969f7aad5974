#include "monarch/models/wan/causal_conv_fast.h"

#include <algorithm>
#include <mutex>

#include "monarch/base/error.h"
#include "monarch/models/wan/causal_conv.h"
#include "monarch/ops/parallel.h"

namespace monarch::models {
namespace {

using conv_kernels::GradientArgs;
using conv_kernels::Kernels;
using conv_kernels::WinogradArgs;
using conv_kernels::WinogradProblem;

thread_local bool only_torch = false;

const Kernels& kernels() { return conv_kernels::best_kernels(); }

// One allocation of at least `floats`, aligned to a cache line, kept by each thread between calls.
float* thread_workspace(int64_t floats) {
  thread_local at::Tensor buffer;
  if (!buffer.defined() || buffer.numel() < floats) {
    buffer.reset();
    buffer = at::empty({floats}, at::kFloat);  // Torch aligns to 64 bytes
  }
  return buffer.data_ptr<float>();
}

// Tiles a task works on: enough rows that the weights, which every task reads in full, come at no
// cost, but few enough that the transformed pixels of one position stay in the second-level cache.
int64_t tiles_per_task(const WinogradProblem& problem, int64_t num_frames) {
  constexpr int64_t kRows = 192;  // tiles times frames
  const int64_t total = conv_kernels::num_tiles(problem);
  const int64_t wanted = std::max<int64_t>(32, kRows / num_frames);
  const int64_t threads = ops::num_task_threads();
  int64_t num_tasks = (total + wanted - 1) / wanted;
  if (num_tasks > 1 || total >= 16 * threads)
    num_tasks = (num_tasks + threads - 1) / threads * threads;
  const int64_t even = (total + num_tasks - 1) / num_tasks;
  return (even + 7) / 8 * 8;
}

int64_t num_tasks_of(const WinogradProblem& problem, int64_t per_task) {
  return (conv_kernels::num_tiles(problem) + per_task - 1) / per_task;
}

}  // namespace

struct PackedConv::State {
  std::mutex mutex;
  std::shared_ptr<const std::vector<float>> packed;
  const void* data = nullptr;
  uint32_t version = 0;
};

std::shared_ptr<PackedConv::State> PackedConv::make_state() { return std::make_shared<State>(); }

std::shared_ptr<const std::vector<float>> PackedConv::get(const at::Tensor& weight,
                                                          const WinogradProblem& problem) const {
  const uint32_t version = weight.is_inference() ? 0 : weight._version();
  const std::lock_guard<std::mutex> lock(state_->mutex);
  if (state_->packed == nullptr || state_->data != weight.const_data_ptr() ||
      state_->version != version) {
    const at::Tensor contiguous = weight.detach().contiguous();
    auto packed = std::make_shared<std::vector<float>>(kernels().packed_floats(problem));
    kernels().pack(problem, contiguous.const_data_ptr<float>(), contiguous.stride(0),
                   contiguous.stride(1),
                   /*reversed=*/false, packed->data());
    state_->packed = std::move(packed);
    state_->data = weight.const_data_ptr();
    state_->version = version;
  }
  return state_->packed;
}

TorchConvGuard::TorchConvGuard() : before_(only_torch) { only_torch = true; }
TorchConvGuard::~TorchConvGuard() { only_torch = before_; }

bool kernels_serve(std::initializer_list<const at::Tensor*> tensors) {
  return !only_torch && std::all_of(tensors.begin(), tensors.end(), [](const at::Tensor* tensor) {
    return !tensor->defined() || (tensor->device().is_cpu() && tensor->scalar_type() == at::kFloat);
  });
}

bool fast_conv_serves(std::initializer_list<const at::Tensor*> tensors) {
  return kernels_serve(tensors) &&
         !(at::GradMode::is_enabled() &&
           std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor* tensor) {
             return tensor->defined() && tensor->requires_grad();
           }));
}

void FrameList::append_zeros(int64_t count) {
  for (auto& list : frames) list.insert(list.end(), count, nullptr);
}

void FrameList::append(const at::Tensor& x) {
  MONARCH_CHECK_CODE(x.select(1, 0).select(0, 0).is_contiguous(), kInternal,
                     "[monarch_models] a frame is not contiguous");
  for (int64_t b = 0; b < x.size(0); ++b) {
    for (int64_t t = 0; t < x.size(1); ++t) {
      frames[b].push_back(x.const_data_ptr<float>() + b * x.stride(0) + t * x.stride(1));
    }
  }
}

at::Tensor run_winograd(const FrameList& inputs, const WinogradProblem& problem,
                        const float* packed, const at::Tensor& bias, const at::Tensor& residual) {
  const auto batch = static_cast<int64_t>(inputs.frames.size());
  const int64_t num_frames = static_cast<int64_t>(inputs.frames[0].size()) - problem.taps + 1;
  at::Tensor out = at::empty(
      {batch, num_frames, problem.height, problem.width, problem.out_channels}, at::kFloat);
  const at::Tensor biases = bias.detach().contiguous();
  const at::Tensor added = residual.defined() ? residual.detach().contiguous() : residual;
  std::vector<std::vector<float*>> outputs(batch);
  std::vector<std::vector<const float*>> residuals(batch);
  std::vector<WinogradArgs> samples(batch);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = 0; t < num_frames; ++t) {
      outputs[b].push_back(out.data_ptr<float>() + b * out.stride(0) + t * out.stride(1));
      if (added.defined()) {
        residuals[b].push_back(added.const_data_ptr<float>() + b * added.stride(0) +
                               t * added.stride(1));
      }
    }
    samples[b].problem = problem;
    samples[b].num_frames = num_frames;
    samples[b].inputs = inputs.frames[b].data();
    samples[b].outputs = outputs[b].data();
    samples[b].residuals = added.defined() ? residuals[b].data() : nullptr;
    samples[b].packed = packed;
    samples[b].bias = biases.const_data_ptr<float>();
    samples[b].tiles_per_task = tiles_per_task(problem, num_frames);
  }
  const int64_t num_tasks = num_tasks_of(problem, samples[0].tiles_per_task);
  const int64_t workspace = kernels().workspace_floats(samples[0]);
  ops::parallel_tasks(batch * num_tasks, [&](int64_t task, int64_t) {
    kernels().run(samples[task / num_tasks], task % num_tasks, thread_workspace(workspace));
  });
  return out;
}

at::Tensor fast_conv(const FrameList& inputs, const PackedConv& packed, const at::Tensor& weight,
                     const at::Tensor& bias, int64_t height, int64_t width, bool upsample,
                     const at::Tensor& residual) {
  const WinogradProblem problem = {.height = upsample ? 2 * height : height,
                                   .width = upsample ? 2 * width : width,
                                   .in_channels = weight.size(1),
                                   .out_channels = weight.size(0),
                                   .taps = weight.dim() == 5 ? weight.size(2) : 1,
                                   .upsample = upsample};
  return run_winograd(inputs, problem, packed.get(weight, problem)->data(), bias, residual);
}

at::Tensor run_weight_gradient(const FrameList& inputs, const FrameList& gradients,
                               const WinogradProblem& problem) {
  const auto batch = static_cast<int64_t>(inputs.frames.size());
  std::vector<GradientArgs> samples(batch);
  for (int64_t b = 0; b < batch; ++b) {
    samples[b].problem = problem;
    samples[b].num_frames = static_cast<int64_t>(gradients.frames[b].size());
    samples[b].inputs = inputs.frames[b].data();
    samples[b].gradients = gradients.frames[b].data();
    samples[b].tiles_per_task = tiles_per_task(problem, samples[b].num_frames);
  }
  const int64_t per_sample = num_tasks_of(problem, samples[0].tiles_per_task);
  const int64_t num_tasks = batch * per_sample;
  // Each group of tasks has its own sums, added at the end: so the order of summation, and with it
  // every bit, does not depend on which thread was faster.
  constexpr int64_t kMaxFloats = 1 << 24;
  const int64_t floats = kernels().gradient_floats(problem);
  const int64_t num_groups = std::min(num_tasks, std::clamp<int64_t>(kMaxFloats / floats, 2, 8));
  const at::Tensor sums = at::zeros({num_groups, floats}, at::kFloat);
  const int64_t workspace = kernels().gradient_workspace_floats(samples[0]);
  ops::parallel_tasks(num_groups, [&](int64_t group, int64_t) {
    for (int64_t task = group; task < num_tasks; task += num_groups) {
      kernels().accumulate_gradient(samples[task / per_sample], task % per_sample,
                                    sums.data_ptr<float>() + group * floats,
                                    thread_workspace(workspace));
    }
  });
  at::Tensor weight =
      at::empty({problem.out_channels, problem.in_channels, problem.taps, 3, 3}, at::kFloat);
  kernels().unpack_gradient(problem, sums.sum(0).const_data_ptr<float>(), weight.data_ptr<float>());
  return weight;
}

void fast_norm_silu(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& to) {
  const int64_t channels = x.size(4);
  const int64_t rows = x.size(1) * x.size(2) * x.size(3);  // pixels of a sample
  constexpr int64_t kFloatsPerTask = 1 << 15;
  const int64_t rows_per_task = std::max<int64_t>(1, kFloatsPerTask / channels);
  const int64_t num_tasks = (rows + rows_per_task - 1) / rows_per_task;
  const at::Tensor scales = gamma.detach().contiguous();
  ops::parallel_tasks(x.size(0) * num_tasks, [&](int64_t task, int64_t) {
    const int64_t b = task / num_tasks;
    const int64_t begin = task % num_tasks * rows_per_task;
    kernels().norm_silu(x.const_data_ptr<float>() + b * x.stride(0) + begin * channels,
                        scales.const_data_ptr<float>(), std::min(rows_per_task, rows - begin),
                        channels, to.data_ptr<float>() + b * to.stride(0) + begin * channels);
  });
}

std::pair<at::Tensor, at::Tensor> fast_norm_silu_backward(const at::Tensor& x,
                                                          const at::Tensor& gamma,
                                                          const at::Tensor& gradient) {
  const int64_t channels = x.size(-1);
  const int64_t rows = x.numel() / channels;
  constexpr int64_t kMaxTasks = 64;  // fixed, so that gamma's gradient is summed in one order
  const int64_t per_task = (rows + kMaxTasks - 1) / kMaxTasks;
  const int64_t num_tasks = (rows + per_task - 1) / per_task;
  at::Tensor dx = at::empty_like(x);
  const at::Tensor dgamma = at::zeros({num_tasks, channels}, at::kFloat);
  ops::parallel_tasks(num_tasks, [&](int64_t task, int64_t) {
    const int64_t begin = task * per_task;
    kernels().norm_silu_backward(
        x.const_data_ptr<float>() + begin * channels, gamma.const_data_ptr<float>(),
        gradient.const_data_ptr<float>() + begin * channels, std::min(per_task, rows - begin),
        channels, dx.data_ptr<float>() + begin * channels,
        dgamma.data_ptr<float>() + task * channels);
  });
  return {dx, dgamma.sum(0)};
}

namespace conv_kernels {

const Kernels& best_kernels() {
#if defined(__x86_64__)
  static const Kernels& best = [&]() -> const Kernels& {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
      return avx512::kKernels;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kKernels;
    return generic::kKernels;
  }();
  return best;
#else
  return generic::kKernels;
#endif
}

}  // namespace conv_kernels
}  // namespace monarch::models
