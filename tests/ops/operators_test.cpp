// The Torch operators around the kernels: layouts, threads, gradients of a cache, shapes without
// data, and what is counted. That the numbers are right is attention_test.cpp's business.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <cstdlib>
#include <thread>

#include "monarch/attention/registry.h"
#include "monarch/base/error.h"
#include "monarch/ops/attention.h"
#include "monarch/ops/usage.h"
#include "tests/ops/support/operands.h"

namespace monarch::ops {
namespace {

const Grid kGrid{3, 4, 6};
const MonarchOptions kTiled{.enable = true, .f_tied = 3, .h_reduce = 2, .w_reduce = 2};
constexpr int64_t kTokens = 72;

Operands floats(int64_t batch = 2, int64_t heads = 3, int64_t dim = 20) {
  return random_operands(batch, kTokens, kTokens, heads, dim).to(at::kFloat);
}

at::Tensor run(const Operands& o) { return monarch_attention(o.q, o.k, o.v, kTiled, kGrid, kGrid); }

// The runs counted while `call` ran.
template <typename Call>
std::vector<std::string> counted(const Call& call) {
  reset_attention_runs();
  call();
  std::vector<std::string> lines;
  for (const AttentionRuns& runs : attention_runs()) lines.push_back(describe(runs));
  return lines;
}

// What runs float32.
std::string float_kernels() {
  return std::string(
      attention::choose(attention::DenseProblem{.head_dim = 8, .q_tokens = 4, .kv_tokens = 4},
                        DType::kF32)
          .name());
}

TEST(AttentionOperators, TakeAnyStrides) {
  const Operands o = floats();
  const at::Tensor want = run(o);
  // One projection's q, k, v beside each other; heads before tokens; every second channel; one
  // token repeated.
  const at::Tensor packed = at::stack({o.q, o.k, o.v}, 2);
  EXPECT_TRUE(
      at::equal(run({packed.select(2, 0), packed.select(2, 1), packed.select(2, 2)}), want));
  const auto heads_first = [](const at::Tensor& t) {
    return t.transpose(1, 2).contiguous().transpose(1, 2);
  };
  EXPECT_TRUE(at::equal(run({heads_first(o.q), heads_first(o.k), heads_first(o.v)}), want));
  const auto spread = [](const at::Tensor& t) {
    return at::stack({t, t + 1}, 4).flatten(3).slice(3, 0, 2 * t.size(3), 2);
  };
  EXPECT_TRUE(at::equal(run({spread(o.q), spread(o.k), spread(o.v)}), want));
  const at::Tensor repeated = o.k.slice(1, 0, 1).expand_as(o.k);
  EXPECT_TRUE(at::equal(run({o.q, repeated, o.v}), run({o.q, repeated.contiguous(), o.v})));
}

TEST(AttentionOperators, GradientsTakeAnyStrides) {
  Operands o = floats();
  const std::vector<at::Tensor> leaves = o.leaves();
  const at::Tensor out = run(o);
  const at::Tensor wide = normal({2, kTokens, 3, 40}, 5).to(at::kFloat);
  const at::Tensor spread = wide.slice(3, 0, 40, 2);
  const auto grads = [&](const at::Tensor& grad_out) {
    return torch::autograd::grad({out}, leaves, {grad_out}, /*retain_graph=*/true);
  };
  const auto got = grads(spread), want = grads(spread.contiguous());
  const auto expanded = grads(at::ones({1}).expand_as(out)), ones = grads(at::ones_like(out));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(at::equal(got[i], want[i]));
    EXPECT_TRUE(at::equal(expanded[i], ones[i]));
  }
}

TEST(AttentionOperators, SameBitsForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  Operands o = floats();
  const std::vector<at::Tensor> leaves = o.leaves();
  const at::Tensor grad_out = normal(o.q.sizes(), 4).to(at::kFloat);
  std::vector<std::vector<at::Tensor>> results;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    const at::Tensor out = run(o);
    results.push_back(gradients(out, leaves, grad_out));
    results.back().push_back(out.detach());
  }
  at::set_num_threads(before);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(at::equal(results[0][i], results[1][i]));
    EXPECT_TRUE(at::equal(results[0][i], results[2][i]));
  }
}

TEST(AttentionOperators, ServeSeveralThreadsAtOnce) {
  // Different sizes, so that the threads' workspaces grow at different times.
  const auto work = [](int64_t heads) {
    at::set_num_threads(1);
    std::vector<at::Tensor> results;
    for (int64_t dim = 8; dim <= 40; dim += 8) {
      Operands o = floats(2, heads, dim);
      const std::vector<at::Tensor> leaves = o.leaves();
      const at::Tensor out = run(o);
      results.push_back(out.detach());
      for (const at::Tensor& grad : gradients(out, leaves, at::ones_like(out)))
        results.push_back(grad);
    }
    return results;
  };
  constexpr size_t kThreads = 4;
  std::vector<std::vector<at::Tensor>> got(kThreads);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] { got[i] = work(static_cast<int64_t>(i) + 1); });
  }
  for (std::thread& thread : threads) thread.join();
  std::thread([&] {
    for (size_t i = 0; i < kThreads; ++i) {
      const std::vector<at::Tensor> want = work(static_cast<int64_t>(i) + 1);
      ASSERT_EQ(got[i].size(), want.size());
      for (size_t n = 0; n < want.size(); ++n) EXPECT_TRUE(at::equal(got[i][n], want[n]));
    }
  }).join();
}

TEST(AttentionOperators, GradientsReachNewKeysOfACacheAlone) {
  // A cache of 6 frames in block order; the last 3 are new.
  const Operands past = floats(1), fresh = floats(1);
  const Grid cache_grid{6, 4, 6};
  const auto splice = [&](const at::Tensor& old, const at::Tensor& added) {
    return splice_tokens(at::cat({old, old}, 1), to_block_order(added, kGrid, kTiled), kTokens);
  };
  const auto attend = [&](const Operands& o) {
    return monarch_attention_blocks(o.q, splice(past.k, o.k), splice(past.v, o.v), kTiled, kGrid,
                                    cache_grid);
  };
  const at::Tensor grad_out = normal(fresh.q.sizes(), 4).to(at::kFloat);
  Operands o = fresh;
  std::vector<at::Tensor> leaves = o.leaves();
  const std::vector<at::Tensor> got = gradients(attend(o), leaves, grad_out);
  const ComposedAttentionGuard composed;
  Operands wide = fresh.to(at::kDouble);
  leaves = wide.leaves();
  const at::Tensor k = splice(past.k.to(at::kDouble), wide.k);
  const at::Tensor v = splice(past.v.to(at::kDouble), wide.v);
  const std::vector<at::Tensor> want = gradients(
      monarch_attention_blocks(wide.q, k, v, kTiled, kGrid, cache_grid), leaves, grad_out);
  for (size_t i = 0; i < 3; ++i) EXPECT_LT(error(got[i], want[i]), 1e-5) << "operand " << i;
}

TEST(AttentionOperators, CountWhatRan) {
  const std::string kernels = float_kernels();
  Operands o = floats();
  EXPECT_EQ(counted([&] {
              run(o);
              run(o);
              cross_attention(o.q, o.k.slice(1, 0, 5), o.v.slice(1, 0, 5));
            }),
            (std::vector<std::string>{"cross forward: " + kernels + ", 1 time",
                                      "monarchrt forward: " + kernels + ", 2 times"}));
  EXPECT_EQ(
      counted([&] { run(o.to(at::kDouble)); }),
      std::vector<std::string>{
          "monarchrt forward: composed, 1 time (cpu-generic takes F32, BF16 or F16, not F64)"});
  EXPECT_EQ(counted([&] {
              const ComposedAttentionGuard composed;
              dense_attention(o.q, o.k, o.v);
            }),
            std::vector<std::string>{
                "dense forward: composed, 1 time (a ComposedAttentionGuard asks for it)"});
  const std::vector<at::Tensor> leaves = o.leaves();
  EXPECT_EQ(counted([&] { gradients(run(o), leaves, at::ones_like(o.q)); }),
            (std::vector<std::string>{"monarchrt backward: " + kernels + ", 1 time",
                                      "monarchrt forward: " + kernels + ", 1 time"}));
}

TEST(AttentionOperators, ObeyTheEnvironment) {
  const Operands o = floats();
  setenv("MONARCH_ATTENTION", "composed", 1);
  EXPECT_EQ(
      counted([&] { run(o); }),
      std::vector<std::string>{"monarchrt forward: composed, 1 time (MONARCH_ATTENTION=composed)"});
  setenv("MONARCH_ATTENTION", "fastest", 1);
  try {
    run(o);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[monarch_ops] MONARCH_ATTENTION is 'fastest'; use kernels (the default) or "
                 "composed");
  }
  unsetenv("MONARCH_ATTENTION");
  setenv("MONARCH_ISA", "generic", 1);
  EXPECT_EQ(counted([&] { run(o); }),
            std::vector<std::string>{"monarchrt forward: cpu-generic, 1 time"});
  unsetenv("MONARCH_ISA");
}

template <typename... Arguments>
at::Tensor call(const char* name, Arguments... arguments) {
  torch::jit::Stack stack;
  torch::jit::push(stack, arguments...);
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  const auto& parameters = op.schema().arguments();
  for (size_t i = stack.size(); i < parameters.size(); ++i)
    stack.push_back(parameters[i].default_value().value());
  op.callBoxed(&stack);
  return stack.at(0).toTensor();
}

TEST(AttentionOperators, AreTorchsToo) {
  const Operands o = floats();
  EXPECT_TRUE(
      at::equal(call("monarch::dense_attention", o.q, o.k, o.v), dense_attention(o.q, o.k, o.v)));
  EXPECT_TRUE(at::equal(call("monarch::dense_attention", o.q, o.k, o.v, 0.5, int64_t{24}),
                        dense_attention_block_causal(o.q, o.k, o.v, 24, 0.5)));
  EXPECT_TRUE(at::equal(call("monarch::monarchrt_attention", o.q, o.k, o.v, int64_t{4}, int64_t{6},
                             int64_t{3}, int64_t{2}, int64_t{2}),
                        run(o)));
  EXPECT_TRUE(at::equal(
      call("monarch::monarchrt_attention", o.q, o.k, o.v, int64_t{4}, int64_t{6}, int64_t{3},
           int64_t{2}, int64_t{2}, int64_t{1}, c10::IValue(), int64_t{0}, true),
      monarch_attention_blocks(o.q, o.k, o.v, kTiled, kGrid, kGrid)));
  EXPECT_TRUE(at::equal(call("monarch::vmonarch_attention", o.q, o.k, o.v, int64_t{4}, int64_t{6}),
                        vmonarch_attention(o.q, o.k, o.v, {}, kGrid)));
  EXPECT_THROW(call("monarch::monarchrt_attention", o.q, o.k, o.v, int64_t{5}, int64_t{6}), Error);
}

TEST(AttentionOperators, KnowShapesWithoutData) {
  const auto meta = at::TensorOptions().device(at::kMeta).dtype(at::kBFloat16);
  const at::Tensor q = at::empty({2, 24, 3, 8}, meta), k = at::empty({2, 48, 3, 8}, meta);
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("monarch::attention_forward", "");
  torch::jit::Stack stack;
  torch::jit::push(stack, q, k, k, "dense", std::vector<int64_t>{0, 0}, std::vector<double>{1.0},
                   true);
  op.callBoxed(&stack);
  const at::Tensor out = stack.at(0).toTensor(), lse = stack.at(1).toTensor();
  EXPECT_EQ(out.sizes(), q.sizes());
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  EXPECT_EQ(lse.sizes(), (std::vector<int64_t>{2, 3, 24}));
  EXPECT_EQ(lse.scalar_type(), at::kFloat);
  stack.clear();
  torch::jit::push(stack, out, q, k, k, out, lse, "dense", std::vector<int64_t>{0, 0},
                   std::vector<double>{1.0});
  c10::Dispatcher::singleton()
      .findSchemaOrThrow("monarch::attention_backward", "")
      .callBoxed(&stack);
  EXPECT_EQ(stack.at(0).toTensor().sizes(), q.sizes());
  EXPECT_EQ(stack.at(1).toTensor().sizes(), k.sizes());
  EXPECT_EQ(stack.at(2).toTensor().sizes(), k.sizes());
}

}  // namespace
}  // namespace monarch::ops
