#include "monarch/attention/cuda/sm80/modulate.cuh"

#include <string_view>

#include "monarch/attention/cuda/common/queue.h"
#include "monarch/attention/cuda/sm80/modulate_launch.h"

namespace monarch::attention::cuda::sm80 {
namespace {

template <typename T>
__global__ void __launch_bounds__(kNormThreads)
    modulated_norm_kernel(const __grid_constant__ ModulateArgs args) {
  modulated_norm<T>(args);
}
template <typename T>
__global__ void __launch_bounds__(kNormThreads)
    gated_add_kernel(const __grid_constant__ ModulateArgs args) {
  gated_add<T>(args);
}
template <typename T>
__global__ void __launch_bounds__(kNormThreads)
    gelu_tanh_kernel(const __grid_constant__ ModulateArgs args) {
  gelu_tanh<T>(args);
}

template <typename T>
void launch(const ModulateArgs& args, Stream stream) {
  const auto with = [&](auto* kernel, std::string_view name) {
    queue(kernel, args,
          {name, args.num_blocks, kNormThreads,
           static_cast<std::size_t>(modulate_shared_bytes(args.kind))},
          stream);
  };
  switch (args.kind) {
    case ModulateKind::kNorm: return with(modulated_norm_kernel<T>, "modulated_norm");
    case ModulateKind::kGatedAdd: return with(gated_add_kernel<T>, "gated_add");
    case ModulateKind::kGelu: return with(gelu_tanh_kernel<T>, "gelu_tanh");
  }
}

}  // namespace

void launch_modulate(const ModulateArgs& args, DType dtype, Stream stream) {
  if (dtype == DType::kBF16) return launch<Bf16>(args, stream);
  launch<F16>(args, stream);
}

}  // namespace monarch::attention::cuda::sm80
