#include "monarch/attention/norm_rope.h"

#include <algorithm>
#include <vector>

#include "monarch/attention/cpu/isa.h"
#include "monarch/attention/cpu/operand.h"

namespace monarch::attention {
namespace {

constexpr std::int64_t kTokensPerTask = 16;
constexpr std::int64_t kMaxWeightSums = 64;

std::int64_t channels_of(const ConstTensorView& x) { return x.size(2) * x.size(3); }

// Checked, with the channels of a token in one row.
template <typename View>
auto token_rows(const View& view, const char* name, const ConstTensorView& like) {
  MONARCH_CHECK(like.rank() == 4, "[monarch_attention] x has shape ", shape_string(like.shape),
                "; expected [batch, tokens, heads, head_dim]");
  const std::int64_t head_dim = like.size(3);
  MONARCH_CHECK(view.rank() == 4 && (view.strides[2] == head_dim || view.size(2) == 1),
                "[monarch_attention] ", name, " has strides ", shape_string(view.strides),
                "; the heads of a token must follow one another, ", head_dim, " elements apart");
  if constexpr (std::is_same_v<View, TensorView>) {
    return cpu::result(view, name, like.size(0), like.size(1), like.size(2), head_dim);
  } else {
    return cpu::operand(view, name, like.size(0), like.size(1), like.size(2), head_dim);
  }
}

void check_pass(const ConstTensorView& x, bool rotated) {
  const std::string refusal = token_pass_refusal(x.dtype, channels_of(x));
  MONARCH_CHECK_CODE(refusal.empty(), kUnsupported, "[monarch_attention] ", refusal);
  MONARCH_CHECK(!rotated || x.size(3) % 2 == 0,
                "[monarch_attention] a rotary embedding turns pairs of channels; head_dim is ",
                x.size(3));
}

struct Pass {
  cpu::NormRopeArgs args;
  std::int64_t batch = 0;
  std::int64_t run = 0;        // tokens that lie side by side in out
  std::int64_t num_tasks = 0;  // of a sample
  std::int64_t per_task = 0;   // tokens
  std::optional<BlockLayout> order;
};

Pass plan(const TokenPass& pass, double eps) {
  Pass result;
  result.args.x = token_rows(pass.x, "x", pass.x);
  result.args.out = token_rows(pass.out, "out", pass.x);
  check_pass(pass.x, pass.rope != nullptr);
  result.args.weight = pass.weight;
  result.args.rope = pass.rope;
  result.args.inverse_rms = pass.inverse_rms;
  result.args.num_heads = pass.x.size(2);
  result.args.head_dim = pass.x.size(3);
  result.args.tokens = pass.x.size(1);
  result.args.eps = static_cast<float>(eps);
  result.batch = pass.x.size(0);
  result.run = kTokensPerTask;
  result.per_task = kTokensPerTask;
  if (pass.order && !pass.order->is_token_order()) {
    const BlockLayout& layout = *pass.order;
    const std::int64_t group = layout.f_tied * layout.frame_tokens();
    MONARCH_CHECK(result.args.tokens % group == 0, "[monarch_attention] ", result.args.tokens,
                  " tokens do not fill groups of f_tied * height * width = ", group);
    result.order = layout;
    result.run = layout.block_cols();
    result.per_task = (kTokensPerTask + result.run - 1) / result.run * result.run;
  }
  result.num_tasks = (result.args.tokens + result.per_task - 1) / result.per_task;
  return result;
}

}  // namespace

std::string token_pass_refusal(DType dtype, std::int64_t channels) {
  if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kF16) {
    return str_cat("the norm takes F32, BF16 or F16, not ", dtype_name(dtype));
  }
  if (channels > cpu::kMaxNormChannels) {
    return str_cat("the norm takes up to ", cpu::kMaxNormChannels, " channels, not ", channels);
  }
  return "";
}

std::string token_pass_implementation() {
  return "cpu-" + std::string(cpu::isa_name(cpu::default_isa()));
}

void run_token_passes(std::span<const TokenPass> passes, double eps, int num_threads,
                      const ParallelLoop& loop) {
  cpu::check_threads(num_threads);
  std::vector<Pass> plans;
  std::int64_t total = 0;
  for (const TokenPass& pass : passes) {
    plans.push_back(plan(pass, eps));
    total += plans.back().batch * plans.back().num_tasks;
  }
  const cpu::Kernels& kernels = cpu::kernels(cpu::default_isa());
  loop(num_threads, total, [&](std::int64_t task, int /*thread*/) {
    const Pass* pass = plans.data();
    for (; task >= pass->batch * pass->num_tasks; ++pass) task -= pass->batch * pass->num_tasks;
    const std::int64_t begin = task % pass->num_tasks * pass->per_task;
    const std::int64_t end = std::min(begin + pass->per_task, pass->args.tokens);
    for (std::int64_t token = begin; token < end; token += pass->run) {
      const std::int64_t to = pass->order ? pass->order->position_of_token(token) : token;
      kernels.norm_rope(pass->args, task / pass->num_tasks, token, to,
                        std::min(pass->run, end - token));
    }
  });
}

std::int64_t num_weight_sums(std::int64_t batch, std::int64_t tokens) {
  return std::clamp<std::int64_t>(batch * tokens / kTokensPerTask, 1, kMaxWeightSums);
}

void run_token_pass_gradient(const TokenPassGradient& pass, int num_threads,
                             const ParallelLoop& loop) {
  cpu::check_threads(num_threads);
  check_pass(pass.x, pass.rope != nullptr);
  cpu::NormRopeBackwardArgs args;
  args.x = token_rows(pass.x, "x", pass.x);
  args.grad_out = token_rows(pass.grad_out, "grad_out", pass.x);
  args.grad_x = token_rows(pass.grad_x, "grad_x", pass.x);
  args.weight = pass.weight;
  args.rope = pass.rope;
  args.inverse_rms = pass.inverse_rms;
  args.num_heads = pass.x.size(2);
  args.head_dim = pass.x.size(3);
  args.tokens = pass.x.size(1);
  const std::int64_t channels = channels_of(pass.x);
  const std::int64_t rows = pass.x.size(0) * args.tokens;
  const std::int64_t sums = num_weight_sums(pass.x.size(0), args.tokens);
  const bool weighted = pass.weight != nullptr;
  MONARCH_CHECK(
      !weighted || (pass.inverse_rms != nullptr && pass.grad_weight != nullptr &&
                    static_cast<std::int64_t>(pass.workspace.size()) >= sums * channels),
      "[monarch_attention] the gradient of the norm needs the forward's inverse_rms, room "
      "for the weight's gradient, and ",
      sums * channels, " floats of workspace; it has ", pass.workspace.size());
  const cpu::Kernels& kernels = cpu::kernels(cpu::default_isa());
  loop(num_threads, sums, [&](std::int64_t task, int /*thread*/) {
    float* grad_weight = weighted ? pass.workspace.data() + task * channels : nullptr;
    if (weighted) std::fill_n(grad_weight, channels, 0.0F);
    const std::int64_t last = (task + 1) * rows / sums;
    for (std::int64_t row = task * rows / sums; row < last;) {
      const std::int64_t batch = row / args.tokens, token = row % args.tokens;
      const std::int64_t count = std::min(args.tokens - token, last - row);
      kernels.norm_rope_backward(args, batch, token, count, grad_weight);
      row += count;
    }
  });
  if (!weighted) return;
  for (std::int64_t c = 0; c < channels; ++c) {
    float sum = 0;
    for (std::int64_t part = 0; part < sums; ++part) sum += pass.workspace[part * channels + c];
    pass.grad_weight[c] = sum;
  }
}

}  // namespace monarch::attention
