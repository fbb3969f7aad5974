// Every backward of the reference against central differences of its forward, in double.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "monarch/attention/reference/dense.h"
#include "monarch/attention/reference/monarch_backward.h"
#include "monarch/attention/reference/monarch_forward.h"
#include "monarch/attention/reference/vmonarch_backward.h"
#include "monarch/attention/reference/vmonarch_forward.h"
#include "monarch/attention/reference/vmonarch_step.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

using Forward = std::function<Tensor(const Tensor& q, const Tensor& k, const Tensor& v)>;

struct Gradients {
  Tensor q;
  Tensor k;
  Tensor v;
};

double loss(const Tensor& out, const Tensor& grad_out) {
  double sum = 0;
  for (std::int64_t index = 0; index < out.size(); ++index)
    sum += out.get(index) * grad_out.get(index);
  return sum;
}

// The gradient with respect to `x`, which `evaluate` reads.
Tensor differences(Tensor& x, const std::function<double()>& evaluate) {
  constexpr double kStep = 1e-5;
  Tensor gradient(x.shape(), DType::kF64);
  for (std::int64_t index = 0; index < x.size(); ++index) {
    const double value = x.get(index);
    x.set(index, value + kStep);
    const double above = evaluate();
    x.set(index, value - kStep);
    const double below = evaluate();
    x.set(index, value);
    gradient.set(index, (above - below) / (2 * kStep));
  }
  return gradient;
}

template <typename Problem, typename Backward>
void check_gradients(const Problem& p, std::int64_t q_tokens, std::int64_t kv_tokens,
                     double q_factor, const Forward& forward, const Backward& backward) {
  Tensor q = random_tensor({p.batch, q_tokens, p.num_heads, p.head_dim}, DType::kF64, 11, q_factor);
  Tensor k = random_tensor({p.batch, kv_tokens, p.num_heads, p.head_dim}, DType::kF64, 12);
  Tensor v = random_tensor({p.batch, kv_tokens, p.num_heads, p.head_dim}, DType::kF64, 13);
  const Tensor grad_out = random_tensor(q.shape(), DType::kF64, 14);
  Gradients got{Tensor(q.shape(), DType::kF64, {.head = 1}),
                Tensor(k.shape(), DType::kF64, {.token = 2}), Tensor(v.shape(), DType::kF64)};
  backward(p, read_only(q.view()), read_only(k.view()), read_only(v.view()), grad_out.view(),
           got.q.view(), got.k.view(), got.v.view());
  const auto evaluate = [&] { return loss(forward(q, k, v), grad_out); };
  for (const auto& [tensor, gradient, name] :
       {std::tuple{&q, &got.q, "q"}, {&k, &got.k, "k"}, {&v, &got.v, "v"}}) {
    const Tensor want = differences(*tensor, evaluate);
    EXPECT_LT(relative_error(*gradient, want), 1e-6)
        << name << ' ' << worst_element(*gradient, want);
  }
}

void check_gradients(const MonarchProblem& p, double q_factor = 1.0) {
  const Forward forward = [&](const Tensor& q, const Tensor& k, const Tensor& v) {
    Tensor out(q.shape(), DType::kF64);
    reference::monarch_forward(p, q.view(), k.view(), v.view(), out.view());
    return out;
  };
  check_gradients(p, p.q_tokens(), p.kv_tokens(), q_factor, forward, reference::monarch_backward);
}

TEST(DenseGradient, MatchesDifferences) {
  for (const std::int64_t causal : {0, 3}) {
    const DenseProblem p{.batch = 2,
                         .num_heads = 2,
                         .head_dim = 3,
                         .q_tokens = 6,
                         .kv_tokens = 6,
                         .softmax_scale = 0.8,
                         .block_causal_size = causal};
    const Forward forward = [&](const Tensor& q, const Tensor& k, const Tensor& v) {
      Tensor out(q.shape(), DType::kF64);
      reference::dense_forward(p, q.view(), k.view(), v.view(), out.view());
      return out;
    };
    check_gradients(p, 6, 6, 1.0, forward, reference::dense_backward);
  }
}

TEST(MonarchGradient, MatchesDifferences) {
  check_gradients({.head_dim = 1});
  check_gradients({.batch = 2,
                   .num_heads = 2,
                   .head_dim = 3,
                   .q_frames = 1,
                   .kv_frames = 2,
                   .height = 2,
                   .width = 3});
  check_gradients({.head_dim = 3,
                   .q_frames = 2,
                   .kv_frames = 2,
                   .height = 2,
                   .width = 6,
                   .f_tied = 2,
                   .h_reduce = 2,
                   .w_reduce = 2,
                   .softmax_scale = 0.7});
  check_gradients({.head_dim = 3,
                   .q_frames = 2,
                   .kv_frames = 2,
                   .height = 3,
                   .width = 2,
                   .kv_block_order = true});
  check_gradients({.head_dim = 2,
                   .q_frames = 4,
                   .kv_frames = 4,
                   .height = 2,
                   .width = 2,
                   .block_causal_size = 8});
}

TEST(MonarchGradient, MatchesDifferencesOverIterations) {
  check_gradients(
      {.head_dim = 3, .q_frames = 1, .kv_frames = 2, .height = 3, .width = 2, .num_iters = 2});
  check_gradients({.head_dim = 3,
                   .q_frames = 2,
                   .kv_frames = 2,
                   .height = 2,
                   .width = 2,
                   .f_tied = 2,
                   .num_iters = 3});
  check_gradients(
      {.head_dim = 3, .q_frames = 1, .kv_frames = 2, .height = 1, .width = 3, .num_iters = 3}, 2.0);
}

// H is constant: the forward to difference is one whose L half adds the entropies of the
// unperturbed inputs.
Tensor vmonarch_with_entropy(const VMonarchProblem& p, const Tensor& q, const Tensor& k,
                             const Tensor& v, const std::vector<reference::VMonarchStep>& frozen) {
  const reference::TokenOf order = reference::token_of_position(p.layout());
  const reference::Matrix q_head = reference::load_head(q.view(), 0, 0, order);
  const reference::Matrix k_head = reference::load_head(k.view(), 0, 0, order);
  const reference::Matrix v_head = reference::load_head(v.view(), 0, 0, order);
  const std::int64_t m = p.layout().num_rows();
  const std::int64_t cols = p.layout().num_cols();
  reference::Matrix a_r = q_head;
  reference::Matrix c_r(q_head.rows, 1);
  std::ranges::fill(c_r.values, 1.0);
  reference::Matrix result(q_head.rows, q_head.cols);
  for (std::size_t t = 0; t < frozen.size(); ++t) {
    reference::Matrix a_l(q_head.rows, q_head.cols);
    reference::Matrix y(q_head.rows, q_head.cols);
    for (std::int64_t row = 0; row < q_head.rows; ++row) {
      std::vector<double> r(static_cast<std::size_t>(cols));
      for (std::int64_t l = 0; l < cols; ++l) {
        r[l] = p.scale() * reference::dot(a_r[row], k_head[row / cols * cols + l]) /
               std::max(c_r[row][0], p.c_r_min);
      }
      reference::softmax_in_place(r);
      for (std::int64_t l = 0; l < cols; ++l) {
        reference::add_scaled(r[l], k_head[row / cols * cols + l], a_l[row]);
        reference::add_scaled(r[l], v_head[row / cols * cols + l], y[row]);
      }
    }
    reference::Matrix next_a_r(q_head.rows, q_head.cols);
    reference::Matrix next_c_r(q_head.rows, 1);
    for (std::int64_t row = 0; row < q_head.rows; ++row) {
      std::vector<double> l(static_cast<std::size_t>(m));
      for (std::int64_t row_k = 0; row_k < m; ++row_k) {
        const std::int64_t source = row_k * cols + row % cols;
        l[row_k] =
            p.scale() * reference::dot(q_head[row], a_l[source]) + frozen[t].entropy[source][0];
      }
      reference::softmax_in_place(l);
      for (std::int64_t row_k = 0; row_k < m; ++row_k) {
        const std::int64_t source = row_k * cols + row % cols;
        reference::add_scaled(l[row_k], q_head[row], next_a_r[source]);
        next_c_r[source][0] += l[row_k];
        if (t + 1 == frozen.size()) reference::add_scaled(l[row_k], y[source], result[row]);
      }
    }
    a_r = next_a_r;
    c_r = next_c_r;
  }
  Tensor out(q.shape(), DType::kF64);
  reference::store_head(result, out.view(), 0, 0, order);
  if (p.recompute_first_frame) {
    const std::int64_t count = p.height * p.width;
    const DenseProblem dense{1, 1, p.head_dim, count, p.num_tokens(), p.scale()};
    ConstTensorView first_q = q.view();
    TensorView first_out = out.view();
    first_q.shape[1] = first_out.shape[1] = count;
    reference::dense_forward(dense, first_q, k.view(), v.view(), first_out);
  }
  return out;
}

void check_gradients(const VMonarchProblem& p, double q_factor = 1.0) {
  const std::int64_t tokens = p.num_tokens();
  const Tensor q0 = random_tensor({1, tokens, 1, p.head_dim}, DType::kF64, 11, q_factor);
  const Tensor k0 = random_tensor({1, tokens, 1, p.head_dim}, DType::kF64, 12);
  const reference::TokenOf order = reference::token_of_position(p.layout());
  const std::vector<reference::VMonarchStep> frozen =
      reference::run_vmonarch(p, reference::load_head(q0.view(), 0, 0, order),
                              reference::load_head(k0.view(), 0, 0, order));
  const Forward forward = [&](const Tensor& q, const Tensor& k, const Tensor& v) {
    return vmonarch_with_entropy(p, q, k, v, frozen);
  };
  Tensor out({1, tokens, 1, p.head_dim}, DType::kF64);
  const Tensor v0 = random_tensor({1, tokens, 1, p.head_dim}, DType::kF64, 13);
  reference::vmonarch_forward(p, q0.view(), k0.view(), v0.view(), out.view());
  ASSERT_LT(relative_error(forward(q0, k0, v0), out), 1e-12);  // the stand-in is the forward
  check_gradients(p, tokens, tokens, q_factor, forward, reference::vmonarch_backward);
}

TEST(VMonarchGradient, MatchesDifferencesWithTheEntropyHeldConstant) {
  check_gradients({.head_dim = 3,
                   .frames = 3,
                   .height = 2,
                   .width = 2,
                   .num_iters = 1,
                   .recompute_first_frame = false});
  check_gradients({.head_dim = 3, .frames = 3, .height = 2, .width = 2, .num_iters = 2});
  check_gradients({.head_dim = 3,
                   .frames = 4,
                   .height = 1,
                   .width = 3,
                   .num_iters = 3,
                   .frames_per_factor = 2});
  check_gradients(
      {.head_dim = 2, .frames = 2, .height = 2, .width = 3, .split = Split::kRowsXFrameCols});
  // Sharp attention: some c_R fall below the clamp.
  check_gradients(
      {.head_dim = 3, .frames = 4, .height = 1, .width = 2, .num_iters = 3, .c_r_min = 0.4}, 4.0);
}

}  // namespace
}  // namespace monarch::attention::test
