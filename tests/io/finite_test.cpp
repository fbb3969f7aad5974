#include "monarch/io/finite.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/io/files.h"

namespace monarch::io {
namespace {

TEST(FirstNonFinite, FindsTheFirstOfEachType) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> values(10000, -3.0F);
  EXPECT_FALSE(first_non_finite(OwnedTensor<float>("w", DType::kF32, {10000}, values).entry));
  values[9000] = -infinity;
  values[9001] = nan;
  EXPECT_EQ(first_non_finite(OwnedTensor<float>("w", DType::kF32, {10000}, values).entry), 9000);
  EXPECT_EQ(first_non_finite(OwnedTensor<double>("w", DType::kF64, {2}, {1.0, nan}).entry), 1);
  EXPECT_EQ(first_non_finite(
                OwnedTensor<std::uint16_t>("w", DType::kBF16, {3}, {0x3F80, 0xFF80, 0x7FC0}).entry),
            1);
  EXPECT_EQ(first_non_finite(
                OwnedTensor<std::uint16_t>("w", DType::kF16, {3}, {0x7BFF, 0x3F80, 0x7C01}).entry),
            2);
  EXPECT_EQ(
      first_non_finite(OwnedTensor<std::uint8_t>("w", DType::kF8E4M3, {2}, {0x7E, 0xFF}).entry), 1);
  EXPECT_FALSE(first_non_finite(OwnedTensor<std::int64_t>("i", DType::kI64, {1}, {-1}).entry));
}

}  // namespace
}  // namespace monarch::io
