// torch.ops.monarch: the public operators, and the pair underneath that runs the kernels.
//
// attention_forward and attention_backward take a problem as numbers, so one pair with one autograd
// rule and one set of shape-only kernels serves all attention patterns. The public operators are
// composite: autograd and traces (torch.compile) see the pair, or Torch's own operators.
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "monarch/base/error.h"
#include "monarch/ops/attention.h"
#include "monarch/ops/kernels.h"
#include "monarch/ops/operator_handle.h"
#include "monarch/ops/problem_numbers.h"
#include "monarch/ops/tensor_views.h"
#include "monarch/ops/usage.h"

namespace monarch::ops {
namespace {

using attention::Problem;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using Forward = std::tuple<at::Tensor, at::Tensor>(const at::Tensor& q, const at::Tensor& k,
                                                   const at::Tensor& v, c10::string_view label,
                                                   at::IntArrayRef integers,
                                                   at::ArrayRef<double> scalars, bool keep_lse);
using Backward = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& out, const at::Tensor& lse, c10::string_view label, at::IntArrayRef integers,
    at::ArrayRef<double> scalars);

const c10::TypedOperatorHandle<Forward>& forward_operator() {
  static const auto handle = operator_named<Forward>("monarch::attention_forward");
  return handle;
}
const c10::TypedOperatorHandle<Backward>& backward_operator() {
  static const auto handle = operator_named<Backward>("monarch::attention_backward");
  return handle;
}

std::tuple<at::Tensor, at::Tensor> attention_forward_kernels(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, c10::string_view label,
    at::IntArrayRef integers, at::ArrayRef<double> scalars, bool keep_lse) {
  return run_forward(decode(q, k, integers, scalars), q, k, v, std::string(label), keep_lse);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward_kernels(
    const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& out, const at::Tensor& lse, c10::string_view label, at::IntArrayRef integers,
    at::ArrayRef<double> scalars) {
  return run_backward(decode(q, k, integers, scalars), grad_out, q, k, v, out, lse,
                      std::string(label));
}

std::tuple<at::Tensor, at::Tensor> attention_forward_meta(
    const at::Tensor& q, const at::Tensor& /*k*/, const at::Tensor& /*v*/,
    c10::string_view /*label*/, at::IntArrayRef /*integers*/, at::ArrayRef<double> /*scalars*/,
    bool keep_lse) {
  const auto lse_options = q.options().dtype(at::kFloat);
  return {at::empty_symint(q.sym_sizes(), q.options()),
          keep_lse ? at::empty_symint({q.sym_size(0), q.sym_size(2), q.sym_size(1)}, lse_options)
                   : at::empty({0}, lse_options)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward_meta(
    const at::Tensor& /*grad_out*/, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& /*out*/, const at::Tensor& /*lse*/, c10::string_view /*label*/,
    at::IntArrayRef /*integers*/, at::ArrayRef<double> /*scalars*/) {
  const auto like = [](const at::Tensor& t) {
    return at::empty_symint(t.sym_sizes(), t.options());
  };
  return {like(q), like(k), like(v)};
}

class Attention : public torch::autograd::Function<Attention> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v, const std::string& label,
                               const std::vector<int64_t>& integers,
                               const std::vector<double>& scalars) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    const auto [out, lse] =
        forward_operator().call(q, k, v, label, integers, scalars, /*keep_lse=*/true);
    context->save_for_backward({q, k, v, out, lse});
    context->mark_non_differentiable({lse});
    context->saved_data["label"] = label;
    context->saved_data["integers"] = integers;
    context->saved_data["scalars"] = scalars;
    return {out, lse};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const auto [grad_q, grad_k, grad_v] = backward_operator().call(
        grads[0], saved[0], saved[1], saved[2], saved[3], saved[4], data["label"].toStringRef(),
        data["integers"].toIntVector(), data["scalars"].toDoubleVector());
    return {grad_q, grad_k, grad_v, {}, {}, {}};
  }
};

std::tuple<at::Tensor, at::Tensor> attention_forward_autograd(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, c10::string_view label,
    at::IntArrayRef integers, at::ArrayRef<double> scalars, bool keep_lse) {
  if (!at::GradMode::is_enabled() ||
      !(q.requires_grad() || k.requires_grad() || v.requires_grad())) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return forward_operator().call(q, k, v, label, integers, scalars, keep_lse);
  }
  const variable_list results =
      Attention::apply(q, k, v, std::string(label), integers.vec(), scalars.vec());
  return {results[0], results[1]};
}

// Frames that `tokens` of height x width make.
int64_t frames_of(const char* op, const at::Tensor& tokens, int64_t height, int64_t width) {
  MONARCH_CHECK(
      height >= 1 && width >= 1 && tokens.dim() == 4 && tokens.size(1) % (height * width) == 0,
      "[monarch_ops] ", op, " needs [batch, frames * ", height, " * ", width,
      ", heads, head_dim]; got ", shape_string(tokens.sizes()));
  return tokens.size(1) / (height * width);
}

at::Tensor dense_operator(const at::Tensor& any_q, const at::Tensor& any_k, const at::Tensor& any_v,
                          std::optional<double> softmax_scale, int64_t block_causal_size) {
  const at::Tensor q = with_known_sizes(any_q), k = with_known_sizes(any_k),
                   v = with_known_sizes(any_v);
  if (block_causal_size == 0) return dense_attention(q, k, v, softmax_scale);
  return dense_attention_block_causal(q, k, v, block_causal_size, softmax_scale);
}

at::Tensor monarchrt_operator(const at::Tensor& any_q, const at::Tensor& any_k,
                              const at::Tensor& any_v, int64_t height, int64_t width,
                              int64_t f_tied, int64_t h_reduce, int64_t w_reduce, int64_t num_iters,
                              std::optional<double> softmax_scale, int64_t block_causal_size,
                              bool kv_block_order) {
  constexpr const char* kName = "monarchrt_attention";
  const at::Tensor q = with_known_sizes(any_q), k = with_known_sizes(any_k),
                   v = with_known_sizes(any_v);
  const MonarchOptions options{.enable = true,
                               .num_iters = num_iters,
                               .f_tied = f_tied,
                               .h_reduce = h_reduce,
                               .w_reduce = w_reduce};
  const Grid q_grid{frames_of(kName, q, height, width), height, width};
  const Grid kv_grid{frames_of(kName, k, height, width), height, width};
  if (kv_block_order) {
    MONARCH_CHECK(block_causal_size == 0, "[monarch_ops] ", kName,
                  " takes keys in block order (a KV cache) or a block_causal_size, not both");
    return monarch_attention_blocks(q, k, v, options, q_grid, kv_grid, softmax_scale);
  }
  if (block_causal_size == 0) {
    return monarch_attention(q, k, v, options, q_grid, kv_grid, softmax_scale);
  }
  return monarch_attention_block_causal(q, k, v, options, q_grid, block_causal_size, softmax_scale);
}

at::Tensor vmonarch_operator(const at::Tensor& any_q, const at::Tensor& any_k,
                             const at::Tensor& any_v, int64_t height, int64_t width,
                             int64_t num_iters, double c_r_min, bool recompute_first_frame,
                             int64_t frames_per_factor, c10::string_view split,
                             std::optional<double> softmax_scale) {
  const at::Tensor q = with_known_sizes(any_q), k = with_known_sizes(any_k),
                   v = with_known_sizes(any_v);
  const VMonarchOptions options{.num_iters = num_iters,
                                .c_r_min = c_r_min,
                                .recompute_first_frame = recompute_first_frame,
                                .frames_per_factor = frames_per_factor,
                                .split = attention::parse_split(split)};
  const Grid grid{frames_of("vmonarch_attention", q, height, width), height, width};
  return vmonarch_attention(q, k, v, options, grid, softmax_scale);
}

using Reorder = at::Tensor(const at::Tensor&, const Grid&, const MonarchOptions&);

// to_block_order or from_block_order as an operator.
template <Reorder reorder>
at::Tensor reorder_operator(const at::Tensor& any_tokens, int64_t height, int64_t width,
                            int64_t f_tied, int64_t h_reduce, int64_t w_reduce) {
  const at::Tensor tokens = with_known_sizes(any_tokens);
  MONARCH_CHECK(
      height >= 1 && width >= 1 && tokens.dim() >= 2 && tokens.size(1) % (height * width) == 0,
      "[monarch_ops] block order needs [batch, frames * ", height, " * ", width, ", ...]; got ",
      shape_string(tokens.sizes()));
  const Grid grid{tokens.size(1) / (height * width), height, width};
  return reorder(tokens, grid,
                 {.enable = true, .f_tied = f_tied, .h_reduce = h_reduce, .w_reduce = w_reduce});
}

std::vector<std::string> runs_operator() {
  std::vector<std::string> lines;
  for (const AttentionRuns& runs : attention_runs()) lines.push_back(describe(runs));
  return lines;
}

}  // namespace

at::Tensor kernel_attention(const Problem& problem, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const std::string& label) {
  const ProblemNumbers numbers = encode(problem);
  return std::get<0>(forward_operator().call(q, k, v, label, numbers.integers, numbers.scalars,
                                             /*keep_lse=*/false));
}

TORCH_LIBRARY(monarch, library) {
  library.def(
      "dense_attention(Tensor q, Tensor k, Tensor v, float? softmax_scale=None, "
      "int block_causal_size=0) -> Tensor",
      dense_operator);
  library.def(
      "monarchrt_attention(Tensor q, Tensor k, Tensor v, int height, int width, int f_tied=1, "
      "int h_reduce=1, int w_reduce=1, int num_iters=1, float? softmax_scale=None, "
      "int block_causal_size=0, bool kv_block_order=False) -> Tensor",
      monarchrt_operator);
  library.def(
      "vmonarch_attention(Tensor q, Tensor k, Tensor v, int height, int width, int num_iters=2, "
      "float c_r_min=0.1, bool recompute_first_frame=True, int frames_per_factor=1, "
      "str split='f,hw', float? softmax_scale=None) -> Tensor",
      vmonarch_operator);
  library.def(
      "to_block_order(Tensor(a) tokens, int height, int width, int f_tied=1, int h_reduce=1, "
      "int w_reduce=1) -> Tensor(a)",
      reorder_operator<to_block_order>);
  library.def(
      "from_block_order(Tensor(a) blocks, int height, int width, int f_tied=1, int h_reduce=1, "
      "int w_reduce=1) -> Tensor(a)",
      reorder_operator<from_block_order>);
  library.def("attention_runs() -> str[]", runs_operator);
  library.def("reset_attention_runs() -> ()", reset_attention_runs);
  library.def(
      "attention_forward(Tensor q, Tensor k, Tensor v, str label, int[] integers, float[] scalars, "
      "bool keep_lse) -> (Tensor out, Tensor lse)");
  library.def(
      "attention_backward(Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, "
      "str label, int[] integers, float[] scalars) -> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(monarch, CPU, library) {
  library.impl("attention_forward", attention_forward_kernels);
  library.impl("attention_backward", attention_backward_kernels);
}

TORCH_LIBRARY_IMPL(monarch, CUDA, library) {
  library.impl("attention_forward", attention_forward_kernels);
  library.impl("attention_backward", attention_backward_kernels);
}

TORCH_LIBRARY_IMPL(monarch, Meta, library) {
  library.impl("attention_forward", attention_forward_meta);
  library.impl("attention_backward", attention_backward_meta);
}

TORCH_LIBRARY_IMPL(monarch, Autograd, library) {
  library.impl("attention_forward", attention_forward_autograd);
}

}  // namespace monarch::ops
