#include "monarch/models/wan/causal_conv.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "monarch/models/wan/causal_conv_autograd.h"
#include "monarch/models/wan/causal_conv_fast.h"
#include "monarch/models/wan/vae_layers.h"

namespace monarch::models {
namespace {

using conv_kernels::Kernels;
using conv_kernels::WinogradArgs;
using conv_kernels::WinogradProblem;

double relative_difference(const at::Tensor& got, const at::Tensor& want) {
  return ((got.to(at::kDouble) - want).norm() / want.norm()).item<double>();
}

std::vector<std::pair<const char*, const Kernels*>> runnable_kernels() {
  std::vector<std::pair<const char*, const Kernels*>> all = {
      {"generic", &conv_kernels::generic::kKernels}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    all.emplace_back("avx2", &conv_kernels::avx2::kKernels);
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")) {
    all.emplace_back("avx512", &conv_kernels::avx512::kKernels);
  }
#endif
  return all;
}

struct Case {
  int64_t height, width, in, out, taps, frames;
  bool upsample;
  int64_t tiles_per_task;
};

// [T, H, W, out] in double from Torch's operators.
at::Tensor reference(const Case& c, const at::Tensor& frames, const at::Tensor& weight,
                     const at::Tensor& bias) {
  at::Tensor x = frames.to(at::kDouble).permute({3, 0, 1, 2}).unsqueeze(0);  // [1, in, F, h, w]
  if (c.upsample) x = x.repeat_interleave(2, 3).repeat_interleave(2, 4);
  const at::Tensor out = at::conv3d(x, weight.to(at::kDouble), bias.to(at::kDouble), 1, {0, 1, 1});
  return out[0].permute({1, 2, 3, 0});
}

TEST(WinogradKernels, EqualTorchInEveryInstructionSet) {
  at::manual_seed(3);
  const Case cases[] = {
      {1, 1, 1, 1, 1, 1, false, 8},     {2, 3, 3, 5, 3, 1, false, 8},
      {7, 9, 8, 8, 3, 4, false, 8},     {6, 10, 16, 16, 3, 2, false, 16},
      {5, 33, 12, 40, 3, 3, false, 24}, {9, 8, 48, 96, 3, 1, false, 8},
      {8, 8, 33, 17, 2, 2, false, 16},  {8, 6, 16, 8, 1, 2, true, 8},
      {2, 2, 5, 3, 1, 1, true, 8},      {12, 14, 64, 32, 1, 3, true, 16},
      {4, 4, 384, 48, 3, 2, false, 8},
  };
  for (const auto& [name, kernels] : runnable_kernels()) {
    for (const Case& c : cases) {
      const int64_t height = c.upsample ? c.height / 2 : c.height;
      const int64_t width = c.upsample ? c.width / 2 : c.width;
      const at::Tensor frames = at::randn({c.frames + c.taps - 1, height, width, c.in});
      const at::Tensor weight = at::randn({c.out, c.in, c.taps, 3, 3});
      const at::Tensor bias = at::randn({c.out});
      const at::Tensor residual = at::randn({c.frames, c.height, c.width, c.out});
      const WinogradProblem problem = {c.height, c.width, c.in, c.out, c.taps, c.upsample};
      std::vector<float> packed(kernels->packed_floats(problem));
      kernels->pack(problem, weight.data_ptr<float>(), weight.stride(0), weight.stride(1), false,
                    packed.data());
      at::Tensor out = at::full_like(residual, 1e30);
      std::vector<const float*> inputs, residuals;
      std::vector<float*> outputs;
      for (int64_t f = 0; f < frames.size(0); ++f) inputs.push_back(frames[f].data_ptr<float>());
      if (c.taps > 1) {  // a frame given as null counts as zeros
        inputs[0] = nullptr;
        frames[0].zero_();
      }
      for (int64_t t = 0; t < c.frames; ++t) {
        outputs.push_back(out[t].data_ptr<float>());
        residuals.push_back(residual[t].data_ptr<float>());
      }
      const WinogradArgs args = {
          problem,          c.frames,      inputs.data(),          outputs.data(),
          residuals.data(), packed.data(), bias.data_ptr<float>(), c.tiles_per_task};
      at::Tensor workspace = at::empty({kernels->workspace_floats(args)});
      const int64_t num_tiles = conv_kernels::num_tiles(problem);
      for (int64_t task = 0; task * c.tiles_per_task < num_tiles; ++task) {
        kernels->run(args, task, workspace.data_ptr<float>());
      }
      const at::Tensor want = reference(c, frames, weight, bias) + residual;
      // Relative to what is summed: a small result of large terms may be off by their rounding.
      const at::Tensor terms =
          reference(c, frames.abs(), weight.abs(), bias.abs()) + residual.abs();
      EXPECT_LT(((out - want).norm() / terms.norm()).item<double>(), 3e-7)
          << name << ' ' << c.height << 'x' << c.width << ' ' << c.in << "->" << c.out;
    }
  }
}

TEST(WinogradKernels, NormAndSiluEqualTorch) {
  at::manual_seed(4);
  for (const auto& [name, kernels] : runnable_kernels()) {
    for (const int64_t channels : {1, 3, 8, 12, 16, 24, 96}) {
      at::Tensor x = at::randn({50, channels}) * 30;
      x[7].zero_();  // the norm is bounded from below
      const at::Tensor gamma = at::randn({channels});
      at::Tensor y = at::empty_like(x);
      kernels->norm_silu(x.data_ptr<float>(), gamma.data_ptr<float>(), 50, channels,
                         y.data_ptr<float>());
      const at::Tensor wide = x.to(at::kDouble);
      const at::Tensor norm = wide.norm(2, {1}, true).clamp_min(1e-12);
      const at::Tensor want =
          at::silu(wide / norm * std::sqrt(static_cast<double>(channels)) * gamma);
      EXPECT_LT(relative_difference(y, want), 5e-7) << name << ' ' << channels;
    }
  }
}

TEST(WinogradConv, GradientsEqualTorch) {
  at::manual_seed(8);
  struct Sizes {
    int64_t batch, frames, height, width, in, out, taps;
  };
  for (const Sizes& c : {Sizes{1, 3, 5, 7, 8, 8, 3},
                         {2, 4, 6, 8, 3, 16, 3},
                         {1, 1, 4, 4, 12, 5, 1},
                         {2, 6, 9, 6, 24, 40, 3},
                         {1, 3, 40, 50, 16, 48, 3}}) {
    const at::Tensor frames =
        at::randn({c.batch, c.frames, c.height, c.width, c.in}).requires_grad_(true);
    const at::Tensor weight = at::randn({c.out, c.in, c.taps, 3, 3}).requires_grad_(true);
    const at::Tensor bias = at::randn({c.out}).requires_grad_(true);
    const at::Tensor out = winograd_conv(frames, weight, bias);
    const at::Tensor probe = at::randn_like(out);
    (out * probe).sum().backward();
    const at::Tensor wide_frames = frames.detach().to(at::kDouble).requires_grad_(true);
    const at::Tensor wide_weight = weight.detach().to(at::kDouble).requires_grad_(true);
    const at::Tensor wide_bias = bias.detach().to(at::kDouble).requires_grad_(true);
    const at::Tensor want =
        at::conv3d(wide_frames.permute({0, 4, 1, 2, 3}), wide_weight, wide_bias, 1, {0, 1, 1})
            .permute({0, 2, 3, 4, 1});
    (want * probe).sum().backward();
    EXPECT_LT(relative_difference(out, want), 1e-6);
    EXPECT_LT(relative_difference(frames.grad(), wide_frames.grad()), 1e-6)
        << c.in << "->" << c.out;
    EXPECT_LT(relative_difference(weight.grad(), wide_weight.grad()), 2e-6)
        << c.in << "->" << c.out;
    EXPECT_LT(relative_difference(bias.grad(), wide_bias.grad()), 2e-6) << c.in << "->" << c.out;
  }
}

TEST(WinogradConv, GradientsHaveTheSameBitsEveryTime) {
  at::manual_seed(9);
  const at::Tensor frames = at::randn({1, 6, 30, 40, 16});
  const at::Tensor probe = at::randn({1, 4, 30, 40, 16});
  at::Tensor first;
  for (int i = 0; i < 5; ++i) {
    at::manual_seed(10);
    const at::Tensor weight = at::randn({16, 16, 3, 3, 3}).requires_grad_(true);
    (winograd_conv(frames, weight, at::zeros({16})) * probe).sum().backward();
    if (i == 0) first = weight.grad();
    EXPECT_TRUE(at::equal(weight.grad(), first));
  }
}

TEST(NormSilu, GradientsEqualTorch) {
  at::manual_seed(11);
  for (const int64_t channels : {1, 5, 8, 12, 16, 24, 96}) {
    at::Tensor x = at::randn({2, 2, 3, 5, channels});
    x[0][0][0][0].zero_();  // below the bound of the norm
    x.requires_grad_(true);
    const at::Tensor gamma = at::randn({channels}).requires_grad_(true);
    const at::Tensor probe = at::randn({2, 2, 3, 5, channels});
    (norm_silu(x, gamma) * probe).sum().backward();
    const at::Tensor wide_x = x.detach().to(at::kDouble).requires_grad_(true);
    const at::Tensor wide_gamma = gamma.detach().to(at::kDouble).requires_grad_(true);
    (at::silu(vae_rms_norm(wide_x, wide_gamma)) * probe).sum().backward();
    if (channels == 1) continue;  // the gradient in x is zero but for rounding
    // The pixel of zeros has a gradient of 1e12, which would hide the others.
    const at::Tensor got = x.grad().clone(), want = wide_x.grad().clone();
    EXPECT_LT(relative_difference(got[0][0][0][0], want[0][0][0][0]), 1e-6) << channels;
    got[0][0][0][0].zero_();
    want[0][0][0][0].zero_();
    EXPECT_LT(relative_difference(got, want), 2e-6) << channels;
    EXPECT_LT(relative_difference(gamma.grad(), wide_gamma.grad()), 2e-6) << channels;
  }
}

TEST(PackedConv, NoticesChangedWeights) {
  at::NoGradGuard no_grad;
  at::manual_seed(5);
  const at::Tensor x = at::randn({2, 1, 4, 6, 8});
  at::Tensor weight = at::randn({8, 8, 3, 3});
  const at::Tensor bias = at::zeros({8});
  const PackedConv packed;
  const auto run = [&] {
    FrameList frames(2);
    frames.append(x);
    return fast_conv(frames, packed, weight, bias, 4, 6, /*upsample=*/false);
  };
  const at::Tensor before = run();
  weight.mul_(2);
  EXPECT_LT(relative_difference(run(), before.to(at::kDouble) * 2), 1e-6);
}

TEST(CausalConv3d, EveryStrategyEqualsConv3d) {
  at::manual_seed(6);
  for (const int64_t channels : {4, 40, 96}) {  // stacked, summed, conv3d
    const at::Tensor x = at::randn({2, 3, 5, 6, channels}, at::kDouble);
    const at::Tensor cache = at::randn({2, 2, 5, 6, channels}, at::kDouble);
    const at::Tensor weight = at::randn({5, channels, 3, 3, 3}, at::kDouble);
    const at::Tensor bias = at::randn({5}, at::kDouble);
    const at::Tensor want =
        at::conv3d(at::cat({cache, x}, 1).permute({0, 4, 1, 2, 3}), weight, bias, 1, {0, 1, 1})
            .permute({0, 2, 3, 4, 1});
    EXPECT_LT(relative_difference(CausalConv3d(weight, bias, {1, 1, 1}).forward(x, cache), want),
              1e-12)
        << channels;
  }
}

TEST(CausalConv3d, SaysWhatIsWrong) {
  const CausalConv3d conv(at::zeros({2, 3, 3, 3, 3}), at::zeros({2}), {1, 1, 1});
  try {
    conv.forward(at::zeros({1, 1, 4, 4, 2}));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[monarch_models] causal convolution of 3 channels needs frames [B, T, H, W, 3]; "
                 "got [1, 1, 4, 4, 2]");
  }
}

}  // namespace
}  // namespace monarch::models
