// The sums over all iterations, rounded into the gradients: eight channels a thread.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/sm80/step_unit.h"
#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/step_gradient_args.h"

namespace monarch::attention::cuda::sm80 {

constexpr std::int64_t store_gradient_blocks(const StepArgs& args) {
  const std::int64_t tokens = args.q_tokens + 2 * std::int64_t{args.kv_tokens};
  return (args.heads * tokens * (args.head_dim / 8) + kThreads - 1) / kThreads;
}

template <typename T>
class StoreGradients {
 public:
  MONARCH_DEVICE explicit StoreGradients(const StepGradientArgs& args)
      : all_(args), args_(args.step) {}

  MONARCH_DEVICE void run() const {
    std::int64_t piece = std::int64_t{device::block_index()} * kThreads + device::thread_index();
    if (take(piece, all_.sum_q, all_.grad_q, args_.q_tokens)) return;
    if (take(piece, all_.sum_k, all_.grad_k, args_.kv_tokens)) return;
    take(piece, all_.sum_v, all_.grad_v, args_.kv_tokens);
  }

 private:
  struct alignas(16) Four {
    float values[4];
  };
  struct alignas(16) Eight {
    std::uint32_t words[4];
  };

  // Stores the piece if it is one of this gradient; otherwise counts on.
  MONARCH_DEVICE bool take(std::int64_t& piece, const float* sum,
                           const Operand<std::uint16_t>& grad, int tokens) const {
    const int pieces = args_.head_dim / 8;
    const std::int64_t count = std::int64_t{args_.heads} * tokens * pieces;
    if (piece >= count) {
      piece -= count;
      return false;
    }
    const auto* const from = reinterpret_cast<const Four*>(sum + 8 * piece);
    const Four low = from[0];
    const Four high = from[1];
    const Eight result{{device::pack<T>(low.values[0], low.values[1]),
                        device::pack<T>(low.values[2], low.values[3]),
                        device::pack<T>(high.values[0], high.values[1]),
                        device::pack<T>(high.values[2], high.values[3])}};
    const int d = static_cast<int>(piece % pieces) * 8;
    const std::int64_t token = piece / pieces % tokens;
    const int unit = static_cast<int>(piece / pieces / tokens) * args_.q_blocks;
    *reinterpret_cast<Eight*>(head_of(grad, args_, unit) + token * grad.token_stride + d) = result;
    return true;
  }

  const StepGradientArgs& all_;
  const StepArgs& args_;
};

}  // namespace monarch::attention::cuda::sm80
