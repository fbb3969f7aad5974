// The pass over queries, keys and values before attention: RMS norm over all channels of a token,
// rotary embedding, and the write of new keys and values into a KV cache, each token read and
// written once. RMS norm: Zhang and Sennrich, arXiv 1910.07467; rotary embedding: arXiv 2104.09864.
//
//   n = x / sqrt(mean over channels of x^2 + eps)       y = n * weight
//   out[2p]   = y[2p] cos_p - y[2p+1] sin_p             p: pairs of adjacent channels of a head
//   out[2p+1] = y[2p] sin_p + y[2p+1] cos_p
//
// Tensors are [B, N, H, D], F32, BF16 or F16, sums in float; the channels H D of a token are
// contiguous, other strides free. Errors are those of monarch/attention/problem.h.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "monarch/attention/layout.h"
#include "monarch/base/parallel.h"

namespace monarch::attention {

struct TokenPass {
  ConstTensorView x;                      // [B, N, H, D]
  TensorView out;                         // [B, N, H, D]; may be x itself in token order
  const float* weight = nullptr;          // [H D]; null: not normalised
  const float* rope = nullptr;            // [N, D], cos and sin of each pair; null: not rotated
  float* inverse_rms = nullptr;           // [B, N], 1 / sqrt(...) for the gradient; or null
  std::optional<BlockLayout> order = {};  // of out's tokens; token order if absent
};

struct TokenPassGradient {
  ConstTensorView x;
  ConstTensorView grad_out;  // in token order
  TensorView grad_x;
  const float* weight = nullptr;
  const float* rope = nullptr;
  const float* inverse_rms = nullptr;
  float* grad_weight = nullptr;  // [H D], overwritten; null without weight
  // Partial sums of grad_weight: num_weight_sums() * H D floats. Summed in one order, so the result
  // does not depend on the number of threads.
  std::span<float> workspace;
};

// Why the pass cannot take tensors of this type and so many channels; empty if it can.
std::string token_pass_refusal(DType dtype, std::int64_t channels);

// What runs it: "cpu-avx512", "cpu-avx2" or "cpu-generic"; MONARCH_ISA chooses as for attention.
std::string token_pass_implementation();

// All passes in one parallel loop.
void run_token_passes(std::span<const TokenPass> passes, double eps, int num_threads,
                      const ParallelLoop& loop = parallel_for);

std::int64_t num_weight_sums(std::int64_t batch, std::int64_t tokens);
void run_token_pass_gradient(const TokenPassGradient& pass, int num_threads,
                             const ParallelLoop& loop = parallel_for);

}  // namespace monarch::attention
