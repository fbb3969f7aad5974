// 16-bit tensors through the CPU kernels of every instruction set: with a single key, attention
// copies its value, so any bit pattern can be sent through load and store.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "monarch/attention/cpu/dense_forward.h"
#include "monarch/base/dtype.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

// out = v, each in its own dtype.
Tensor copy(const Tensor& v, DType out_dtype, cpu::Isa isa) {
  const std::int64_t heads = v.shape()[2];
  const std::int64_t head_dim = v.shape()[3];
  const DenseProblem p{.num_heads = heads, .head_dim = head_dim, .q_tokens = 1, .kv_tokens = 1};
  Tensor zero({1, 1, heads, head_dim}, v.dtype());
  zero.fill(0);
  Tensor out({1, 1, heads, head_dim}, out_dtype);
  const cpu::DenseForwardPlan plan(p, 1, isa);
  std::vector<std::byte> workspace(plan.workspace_bytes(), std::byte{0xff});
  plan.run(read_only(zero.view()), read_only(zero.view()), v.view(), out.view(), nullptr,
           workspace);
  return out;
}

void expect_same(double got, double want, const std::string& where) {
  if (std::isnan(want)) {
    ASSERT_TRUE(std::isnan(got)) << where << " got " << got;
  } else {
    ASSERT_EQ(got, want) << where;
  }
}

TEST(CpuStorage, EverySixteenBitPatternIsReadExactly) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    Tensor v({1, 1, 1024, 64}, dtype);
    auto* bits = static_cast<std::uint16_t*>(v.view().data);
    for (std::uint32_t pattern = 0; pattern < 65536; ++pattern) bits[pattern] = pattern;
    for (const cpu::Isa isa : cpu::available_isas()) {
      const Tensor out = copy(v, DType::kF32, isa);
      for (std::int64_t pattern = 0; pattern < 65536; ++pattern) {
        expect_same(out.get(pattern), v.get(pattern),
                    str_cat(cpu::isa_name(isa), ' ', dtype_name(dtype), ' ', pattern));
      }
    }
  }
}

TEST(CpuStorage, ResultsAreRoundedToTheNearestEven) {
  // Around every 16-bit value: itself, the ties on both sides, and a float beside each tie.
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<float> values;
    for (std::uint32_t pattern = 0; pattern < 65536; pattern += 7) {
      const auto half = static_cast<std::uint16_t>(pattern);
      const float value = dtype == DType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
      const auto next = static_cast<std::uint16_t>(half + 1);
      const float other = dtype == DType::kF16 ? f16_to_f32(next) : bf16_to_f32(next);
      const auto tie = static_cast<float>((double{value} + double{other}) / 2);
      for (const float x : {value, tie, std::nextafter(tie, value), std::nextafter(tie, other)})
        values.push_back(x);
    }
    for (const float x : {0.0F, -0.0F, 65519.0F, 65520.0F, -1e30F, 3e38F, 1e-7F, 3e-8F, 1e-30F})
      values.push_back(x);
    const auto heads = static_cast<std::int64_t>((values.size() + 63) / 64);
    Tensor v({1, 1, heads, 64}, DType::kF32);
    v.fill(0);
    for (std::size_t at = 0; at < values.size(); ++at)
      v.set(static_cast<std::int64_t>(at), double{values[at]});
    for (const cpu::Isa isa : cpu::available_isas()) {
      const Tensor out = copy(v, dtype, isa);
      for (std::size_t at = 0; at < values.size(); ++at) {
        const double want = dtype == DType::kF16 ? f16_to_f32(f32_to_f16(values[at]))
                                                 : bf16_to_f32(f32_to_bf16(values[at]));
        expect_same(out.get(static_cast<std::int64_t>(at)), want,
                    str_cat(cpu::isa_name(isa), ' ', dtype_name(dtype), ' ', values[at]));
      }
    }
  }
}

}  // namespace
}  // namespace monarch::attention::test
