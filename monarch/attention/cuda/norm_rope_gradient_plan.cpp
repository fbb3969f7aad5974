#include <algorithm>
#include <cstdint>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/norm_rope.h"
#include "monarch/attention/cuda/tensors.h"

namespace monarch::attention::cuda {

std::int64_t num_weight_sums(std::int64_t batch, std::int64_t tokens) {
  return std::min<std::int64_t>(batch * tokens, kMaxWeightSums);
}

NormRopeGradientArgs norm_rope_gradient_args(const TokenPassGradient& pass) {
  const std::int64_t tokens = pass.x.rank() == 4 ? pass.x.size(1) : 0;
  const TokenPass forward{.x = pass.x, .out = pass.grad_x, .weight = pass.weight};
  const NormRopePass checked = norm_rope_args({&forward, 1}, 0).passes[0];
  const Sizes sizes{pass.x.size(0), pass.x.size(2), pass.x.size(3), pass.x.dtype};
  NormRopeGradientArgs args{.x = checked.x,
                            .grad_out = operand(pass.grad_out, "grad_out", tokens, sizes),
                            .grad_x = checked.out,
                            .weight = pass.weight,
                            .rope = pass.rope,
                            .inverse_rms = pass.inverse_rms,
                            .grad_weight = pass.grad_weight,
                            .sums = pass.workspace.data(),
                            .tokens = checked.tokens,
                            .channels = checked.channels,
                            .head_dim = checked.head_dim};
  check_heads(pass.grad_out, "grad_out");
  args.rows = narrow(sizes.batch * tokens, "tokens");
  args.num_blocks = static_cast<int>(num_weight_sums(sizes.batch, tokens));
  if (pass.weight != nullptr) {
    MONARCH_CHECK(pass.inverse_rms != nullptr && pass.grad_weight != nullptr, kRoom,
                  "the norm's backward needs the forward's inverse_rms and a grad_weight");
    check_workspace({pass.workspace.data(), pass.workspace.size_bytes()},
                    static_cast<std::size_t>(args.num_blocks) *
                        static_cast<std::size_t>(args.channels) * sizeof(float));
  }
  return args;
}

void run_token_pass_gradient(const TokenPassGradient& pass, Stream stream) {
  launch_norm_rope_gradient(norm_rope_gradient_args(pass), pass.x.dtype, stream);
}

}  // namespace monarch::attention::cuda
