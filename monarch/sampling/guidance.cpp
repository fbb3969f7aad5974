#include "monarch/sampling/guidance.h"

namespace monarch::sampling {

at::Tensor guide(const at::Tensor& conditional, const at::Tensor& unconditional, double scale) {
  return unconditional + (conditional - unconditional) * scale;
}

Denoiser with_guidance(Denoiser conditional, Denoiser unconditional, double scale) {
  return [conditional = std::move(conditional), unconditional = std::move(unconditional), scale](
             const at::Tensor& x_t, const at::Tensor& timestep, std::int64_t step) {
    const at::Tensor with_prompt = conditional(x_t, timestep, step);
    return guide(with_prompt, unconditional(x_t, timestep, step), scale);
  };
}

}  // namespace monarch::sampling
