// The CPU's VMonarch forward of every instruction set against the reference.
#include "monarch/attention/cpu/vmonarch_forward.h"

#include <gtest/gtest.h>

#include <cmath>

#include "monarch/attention/reference/vmonarch_forward.h"
#include "tests/attention/support/fixture.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

Tensor run(const VMonarchProblem& p, const Tensor& q, const Tensor& k, const Tensor& v,
           cpu::Isa isa, int threads) {
  Tensor out(q.shape(), q.dtype());
  out.fill(std::nan(""));
  const cpu::VMonarchForwardPlan plan(p, threads, isa);
  std::vector<std::byte> workspace(plan.workspace_bytes(), std::byte{0xff});
  plan.run(q.view(), k.view(), v.view(), out.view(), nullptr, workspace);
  return out;
}

void check(const VMonarchProblem& p, DType dtype = DType::kF32, double q_factor = 1,
           Padding padding = {}) {
  const auto make = [&](std::uint32_t seed, double factor) {
    return random_tensor({p.batch, p.num_tokens(), p.num_heads, p.head_dim}, dtype, seed, factor,
                         padding);
  };
  const Tensor q = make(1, q_factor);
  const Tensor k = make(2, 1);
  const Tensor v = make(3, 1);
  Tensor want(q.shape(), DType::kF64);
  reference::vmonarch_forward(p, q.view(), k.view(), v.view(), want.view());
  const double storage = dtype == DType::kBF16 ? 4e-3 : dtype == DType::kF16 ? 5e-4 : 0;
  for (const cpu::Isa isa : cpu::available_isas()) {
    const Tensor got = run(p, q, k, v, isa, 1);
    EXPECT_LE(relative_error(got, want), storage + (q_factor > 1 ? 5e-5 : 5e-6))
        << cpu::isa_name(isa) << " frames " << p.frames << " height " << p.height << " width "
        << p.width << ' ' << worst_element(got, want);
    EXPECT_EQ(run(p, q, k, v, isa, 3).values(), got.values());
  }
}

TEST(CpuVMonarchForward, EveryVectorRemainder) {
  for (const std::int64_t frames : {1, 2, 3, 5, 8, 12, 13, 21})
    check({.head_dim = 8, .frames = frames, .height = 2, .width = 3});
  for (const std::int64_t width : {1, 2, 4, 7, 12, 16, 17, 97, 193, 200})
    check({.head_dim = 8, .frames = 3, .width = width});
  for (const std::int64_t head_dim : {1, 3, 5, 20, 31, 64, 128, 130}) {
    check({.num_heads = 2, .head_dim = head_dim, .frames = 3, .height = 3, .width = 5});
  }
}

TEST(CpuVMonarchForward, IterationsSplitsStoragesAndScores) {
  for (const std::int64_t iters : {1, 2, 4}) {
    check({.batch = 2,
           .num_heads = 2,
           .head_dim = 16,
           .frames = 4,
           .height = 3,
           .width = 5,
           .num_iters = iters});
    check({.head_dim = 16,
           .frames = 4,
           .height = 3,
           .width = 5,
           .num_iters = iters,
           .recompute_first_frame = false});
  }
  check({.head_dim = 16,
         .frames = 6,
         .height = 3,
         .width = 5,
         .softmax_scale = 0.7,
         .c_r_min = 1.5,
         .frames_per_factor = 2});
  for (const Split split :
       {Split::kFrameRowsXCols, Split::kColsXFrameRows, Split::kFramesXPixels,
        Split::kPixelsXFrames, Split::kFrameColsXRows, Split::kRowsXFrameCols}) {
    check({.head_dim = 16, .frames = 4, .height = 3, .width = 5, .split = split});
  }
  const VMonarchProblem p{.num_heads = 2, .head_dim = 20, .frames = 4, .height = 3, .width = 5};
  check(p, DType::kBF16);
  check(p, DType::kF16);
  check(p, DType::kF32, 1, {.head = 1, .token = 3, .start = 1});
  for (const double factor : {0.0, 8.0, 30.0}) check(p, DType::kF32, factor);
}

TEST(CpuVMonarchForward, EveryFixture) {
  int count = 0;
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    if (fixture.op != "vmonarch_attention") continue;
    const auto& t = fixture.tensors;
    for (const cpu::Isa isa : cpu::available_isas()) {
      const Tensor got =
          run(vmonarch_problem(fixture), t.at("input.q"), t.at("input.k"), t.at("input.v"), isa, 2);
      EXPECT_LE(relative_error(got, t.at("expect.out"), fixture.rms_floor), fixture.tolerance)
          << fixture.name << ' ' << worst_element(got, t.at("expect.out"));
    }
    ++count;
  }
  EXPECT_GE(count, 4);
}

}  // namespace
}  // namespace monarch::attention::test
