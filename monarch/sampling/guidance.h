#pragma once

#include "monarch/sampling/solver.h"

namespace monarch::sampling {

// unconditional + scale * (conditional - unconditional); scale 1 is the conditional prediction.
at::Tensor guide(const at::Tensor& conditional, const at::Tensor& unconditional, double scale);

// Calls `conditional`, then `unconditional`, and mixes. The order matters to models with caches.
Denoiser with_guidance(Denoiser conditional, Denoiser unconditional, double scale);

}  // namespace monarch::sampling
