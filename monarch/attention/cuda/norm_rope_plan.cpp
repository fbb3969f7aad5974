#include <cstdint>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/norm_rope.h"
#include "monarch/attention/cuda/tensors.h"

namespace monarch::attention::cuda {

namespace {

std::string size_refusal(std::int64_t num_heads, std::int64_t head_dim) {
  if (head_dim % 8 == 0 && num_heads * head_dim <= kMaxNormChannels) return "";
  return str_cat("the norm on a GPU takes up to ", kMaxNormChannels,
                 " channels in heads of a multiple of 8; got ", num_heads, " heads of ", head_dim);
}

NormRopePass plan(const TokenPass& pass, DType dtype) {
  MONARCH_CHECK(pass.x.rank() == 4, kRoom, "x has shape ", shape_string(pass.x.shape),
                "; expected [batch, tokens, heads, head_dim]");
  const Sizes sizes{pass.x.size(0), pass.x.size(2), pass.x.size(3), dtype};
  const std::int64_t tokens = pass.x.size(1);
  NormRopePass result{.x = operand(pass.x, "x", tokens, sizes),
                      .out = cuda::result(pass.out, "out", tokens, sizes),
                      .weight = pass.weight,
                      .rope = pass.rope,
                      .inverse_rms = pass.inverse_rms};
  check_heads(pass.x, "x");
  check_heads(read_only(pass.out), "out");
  const std::int64_t channels = sizes.num_heads * sizes.head_dim;
  const std::string refusal = size_refusal(sizes.num_heads, sizes.head_dim);
  MONARCH_CHECK_CODE(refusal.empty(), kUnsupported, kRoom, refusal);
  result.tokens = narrow(tokens, "tokens");
  result.channels = static_cast<int>(channels);
  result.head_dim = static_cast<int>(sizes.head_dim);
  if (pass.order && !pass.order->is_token_order()) {
    const std::int64_t group = pass.order->f_tied * pass.order->frame_tokens();
    MONARCH_CHECK(tokens % group == 0, kRoom, tokens,
                  " tokens do not fill groups of f_tied * height * width = ", group);
    result.block_order = true;
    result.layout = *pass.order;
  }
  return result;
}

}  // namespace

std::string token_pass_refusal(DType dtype, std::int64_t num_heads, std::int64_t head_dim) {
  if (dtype != DType::kBF16 && dtype != DType::kF16) {
    return str_cat("the CUDA kernels take BF16 or F16, not ", dtype_name(dtype));
  }
  const std::string refusal = size_refusal(num_heads, head_dim);
  return refusal.empty() ? device_refusal() : refusal;
}

NormRopeArgs norm_rope_args(std::span<const TokenPass> passes, double eps) {
  MONARCH_CHECK(!passes.empty() && passes.size() <= kMaxTokenPasses, kRoom, "there are ",
                passes.size(), " passes; one launch takes 1 to ", kMaxTokenPasses);
  NormRopeArgs args;
  args.eps = static_cast<float>(eps);
  for (const TokenPass& pass : passes) {
    NormRopePass& planned = args.passes[static_cast<std::size_t>(args.num_passes++)];
    planned = plan(pass, passes.front().x.dtype);
    planned.first_block = args.num_blocks;
    args.num_blocks += pass.x.size(0) * pass.x.size(1);
  }
  narrow(args.num_blocks, "thread blocks");
  return args;
}

void run_token_passes(std::span<const TokenPass> passes, double eps, Stream stream) {
  launch_norm_rope(norm_rope_args(passes, eps), passes.front().x.dtype, stream);
}

}  // namespace monarch::attention::cuda
