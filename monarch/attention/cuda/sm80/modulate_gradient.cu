#include "monarch/attention/cuda/sm80/modulate_gradient.cuh"

#include <string_view>

#include "monarch/attention/cuda/common/queue.h"
#include "monarch/attention/cuda/sm80/modulate_launch.h"

namespace monarch::attention::cuda::sm80 {
namespace {

template <typename T>
__global__ void __launch_bounds__(kNormThreads, 2)
    modulated_norm_gradient_kernel(const __grid_constant__ ModulateGradientArgs args) {
  ModulatedNormGradientBlock<T>(args).run();
}
template <typename T>
__global__ void __launch_bounds__(kNormThreads)
    gated_add_gradient_kernel(const __grid_constant__ ModulateGradientArgs args) {
  gated_add_gradient<T>(args);
}
template <typename T>
__global__ void __launch_bounds__(kNormThreads)
    gelu_tanh_gradient_kernel(const __grid_constant__ ModulateGradientArgs args) {
  gelu_tanh_gradient<T>(args);
}
template <typename T>
__global__ void __launch_bounds__(kNormThreads)
    modulation_sums_kernel(const __grid_constant__ ModulateGradientArgs args) {
  add_modulation_sums<T>(args);
}

template <typename T>
void launch(const ModulateGradientArgs& args, Stream stream) {
  const auto with = [&](auto* kernel, std::string_view name) {
    queue(kernel, args,
          {name, args.num_blocks, kNormThreads,
           static_cast<std::size_t>(modulate_shared_bytes(args.kind))},
          stream);
  };
  switch (args.kind) {
    case ModulateKind::kNorm:
      with(modulated_norm_gradient_kernel<T>, "modulated_norm_gradient");
      break;
    case ModulateKind::kGatedAdd: with(gated_add_gradient_kernel<T>, "gated_add_gradient"); break;
    case ModulateKind::kGelu: return with(gelu_tanh_gradient_kernel<T>, "gelu_tanh_gradient");
  }
  queue(modulation_sums_kernel<T>, args, {"modulation_sums", args.num_sum_blocks, kNormThreads, 0},
        stream);
}

}  // namespace

void launch_modulate_gradient(const ModulateGradientArgs& args, DType dtype, Stream stream) {
  if (dtype == DType::kBF16) return launch<Bf16>(args, stream);
  launch<F16>(args, stream);
}

}  // namespace monarch::attention::cuda::sm80
