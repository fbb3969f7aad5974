// The operators on a GPU against the same on the CPU in double; and, without one, what is said.
#include <gtest/gtest.h>

#include <functional>

#include "monarch/ops/attention.h"
#include "monarch/ops/device.h"
#include "monarch/ops/modulate.h"
#include "monarch/ops/norm_rope.h"
#include "monarch/ops/side_stream.h"
#include "monarch/ops/usage.h"
#include "tests/ops/support/operands.h"
#include "tests/support/message_of.h"

namespace monarch::ops {
namespace {

const Grid kGrid{3, 4, 6};

MonarchOptions tiling(int64_t num_iters) {
  return {.enable = true, .num_iters = num_iters, .h_reduce = 2, .w_reduce = 3};
}

using Attend = std::function<at::Tensor(const Operands&)>;

const std::vector<std::pair<std::string, Attend>>& attentions() {
  static const std::vector<std::pair<std::string, Attend>> all{
      {"monarchrt",
       [](const Operands& o) { return monarch_attention(o.q, o.k, o.v, tiling(1), kGrid, kGrid); }},
      {"monarchrt, two iterations",
       [](const Operands& o) { return monarch_attention(o.q, o.k, o.v, tiling(2), kGrid, kGrid); }},
      {"vmonarch", [](const Operands& o) { return vmonarch_attention(o.q, o.k, o.v, {}, kGrid); }},
      {"dense", [](const Operands& o) { return dense_attention(o.q, o.k, o.v); }}};
  return all;
}

// Why the kernels cannot run on a GPU here; empty if they can.
std::string missing() {
  if (!at::hasCUDA()) return "no CUDA device, or a LibTorch without CUDA";
  return attention::implementations(attention::Device::kCuda)
      .front()
      ->refusal(attention::VMonarchProblem{.head_dim = 64}, DType::kBF16,
                attention::Direction::kForward);
}

TEST(CudaOperators, MatchTheCpu) {
  if (const std::string why = missing(); !why.empty()) GTEST_SKIP() << why;
  const Operands wide = random_operands(2, kGrid.tokens(), kGrid.tokens(), 2, 64);
  for (const auto& [name, attend] : attentions()) {
    reset_attention_runs();
    Operands on_cpu = wide, on_gpu = wide;
    for (at::Tensor* t : {&on_gpu.q, &on_gpu.k, &on_gpu.v}) {
      *t = t->to(at::kCUDA, at::kBFloat16);
    }
    const std::vector<at::Tensor> cpu_leaves = on_cpu.leaves(), gpu_leaves = on_gpu.leaves();
    const at::Tensor want = attend(on_cpu), got = attend(on_gpu);
    EXPECT_LT(error(got.cpu(), want.detach()), 0.02) << name;
    const at::Tensor grad = normal(want.sizes(), 4);
    const auto wants = gradients(want, cpu_leaves, grad);
    const auto gots = gradients(got, gpu_leaves, grad.to(at::kCUDA));
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_LT(error(gots[i].cpu(), wants[i]), 0.04) << name << " operand " << i;
    }
    int64_t on_kernels = 0;
    for (const AttentionRuns& runs : attention_runs()) {
      on_kernels += runs.implementation == "cuda-sm80" ? runs.count : 0;
    }
    EXPECT_EQ(on_kernels, name == "dense" ? 0 : 2) << name;
  }
}

TEST(CudaOperators, NormAndRotationMatchTheCpu) {
  if (const std::string why = missing(); !why.empty()) GTEST_SKIP() << why;
  const at::Tensor x = normal({2, kGrid.tokens(), 3, 16}, 1), weight = normal({48}, 2),
                   angle = normal({kGrid.tokens(), 8}, 3);
  const at::Tensor rope = at::polar(at::ones_like(angle), angle).to(at::kComplexFloat);
  const at::Tensor grad = normal(x.sizes(), 4);
  const auto run = [&](const at::Device& device, at::ScalarType type) {
    const at::Tensor leaf = x.clone().to(device, type).requires_grad_();
    const at::Tensor scale = weight.clone().to(device, type).requires_grad_();
    const at::Tensor out = norm_rope(leaf, scale, rope.to(device), 1e-6);
    std::vector<at::Tensor> results = gradients(out, {leaf, scale}, grad.to(device));
    results.push_back(out.detach());
    return results;
  };
  const auto want = run(at::kCPU, at::kDouble), got = run(at::kCUDA, at::kBFloat16);
  for (size_t i = 0; i < want.size(); ++i) EXPECT_LT(error(got[i].cpu(), want[i]), 0.01) << i;
}

TEST(CudaOperators, ModulationMatchesTheCpu) {
  if (const std::string why = missing(); !why.empty()) GTEST_SKIP() << why;
  const at::NoGradGuard no_grad;
  const at::Tensor x = normal({2, 12, 64}, 1), y = normal({2, 12, 64}, 2),
                   m = normal({1, 3, 2, 64}, 3);
  const auto on_gpu = [](const at::Tensor& t) { return t.to(at::kCUDA, at::kBFloat16); };
  const auto runs = [](const at::Tensor& t) { return t.repeat_interleave(4, 1); };
  const at::Tensor shift = m.select(2, 0), scale = m.select(2, 1), tokens = on_gpu(x);
  ASSERT_TRUE(modulates(tokens, {on_gpu(shift), on_gpu(scale), on_gpu(y)}));
  ASSERT_FALSE(modulates(tokens, {scale}));
  EXPECT_LT(error(modulated_norm(tokens, on_gpu(shift), on_gpu(scale), 1e-6).cpu(),
                  at::layer_norm(x, {64}, {}, {}, 1e-6) * (1 + runs(scale)) + runs(shift)),
            0.01);
  EXPECT_LT(error(gated_add(on_gpu(x), on_gpu(scale), on_gpu(y)).cpu(), x + runs(scale) * y), 0.01);
  ASSERT_TRUE(takes_gelu(tokens));
  EXPECT_LT(error(gelu_tanh(on_gpu(x)).cpu(), at::gelu(x, "tanh")), 0.01);
}

TEST(CudaOperators, GradientsOfModulationMatchTheCpu) {
  if (const std::string why = missing(); !why.empty()) GTEST_SKIP() << why;
  const std::vector<at::Tensor> wide{normal({2, 12, 64}, 1), normal({2, 12, 64}, 2),
                                     normal({1, 3, 64}, 3), normal({1, 3, 64}, 4)};
  const at::Tensor grad = normal({2, 12, 64}, 5);
  const auto runs = [](const at::Tensor& t) { return t.repeat_interleave(4, 1); };
  const auto run = [&](const at::Device& device, at::ScalarType type) {
    std::vector<at::Tensor> leaves;
    for (const at::Tensor& t : wide) leaves.push_back(t.clone().to(device, type).requires_grad_());
    const at::Tensor &x = leaves[0], &y = leaves[1], &m = leaves[2], &n = leaves[3];
    const at::Tensor out = device.is_cuda()
                               ? gated_add(modulated_norm(x, m, n, 1e-6), m, gelu_tanh(y))
                               : at::layer_norm(x, {64}, {}, {}, 1e-6) * (1 + runs(n)) + runs(m) +
                                     runs(m) * at::gelu(y, "tanh");
    return gradients(out, leaves, grad.to(device));
  };
  const auto want = run(at::kCPU, at::kDouble), got = run(at::kCUDA, at::kBFloat16);
  for (size_t i = 0; i < want.size(); ++i) EXPECT_LT(error(got[i].cpu(), want[i]), 0.02) << i;
}

TEST(CudaOperators, ModulationOnTheCpuIsTorchs) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::ones({1, 2, 8}, at::kBFloat16);
  EXPECT_FALSE(modulates(x, {x}));
  EXPECT_FALSE(takes_gelu(x));
}

TEST(SideStream, RunsBehindWhatIsQueuedAndBesideWhatComes) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device, or a LibTorch without CUDA";
  SideStream side(at::kCUDA);
  std::vector<HostTensor> results;
  at::Tensor x = at::ones({512, 512}, at::TensorOptions().device(at::kCUDA).dtype(at::kFloat));
  for (int round = 0; round < 20; ++round) {
    x = at::matmul(x, x) / 512;  // ones again, after some time
    results.push_back(side.run(x, [&](const at::Tensor& in) { return in + round; }));
  }
  for (size_t round = 0; round < results.size(); ++round) {
    const at::Tensor& got = results[round].get();
    results[round].wait_for_input();
    EXPECT_TRUE(got.is_cpu());
    EXPECT_TRUE(at::equal(got, at::full({512, 512}, 1.0F + static_cast<float>(round)))) << round;
  }
}

TEST(SideStream, OfTheCpuRunsAtOnce) {
  SideStream side(at::kCPU);
  const at::Tensor x = at::ones({2});
  EXPECT_TRUE(at::equal(side.run(x, [](const at::Tensor& in) { return in * 3; }).get(), x * 3));
}

TEST(CudaOperators, SayWhereTheyCannotRun) {
  EXPECT_EQ(device_refusal(at::kCPU), "");
  EXPECT_EQ(device_refusal(at::kMeta), "the kernels run on CPUs and NVIDIA GPUs, not on meta");
  const Operands o = random_operands(1, kGrid.tokens(), kGrid.tokens(), 1, 8);
  EXPECT_EQ(message_of([&] { dense_attention(o.q, o.k.to(at::kMeta), o.v.to(at::kMeta)); }),
            "[monarch_ops] dense_attention needs q, k, v on one device; got cpu, meta, meta");
  EXPECT_EQ(message_of([&] { norm_rope(o.q, at::ones({8}).to(at::kMeta), {}, 1e-6); }),
            "[monarch_ops] norm_rope needs x, weight and rope on one device; got cpu and meta");
}

TEST(DeviceWorkspace, OfTheCpuIsKept) {
  const at::Tensor beside = at::empty({1});
  const std::byte* const first = DeviceWorkspace(beside, 1 << 16).span().data();
  EXPECT_EQ(DeviceWorkspace(beside, 1 << 10).span().data(), first);
}

}  // namespace
}  // namespace monarch::ops
