#include "monarch/base/large_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <new>
#include <utility>

namespace monarch {
namespace {

TEST(LargeBuffer, IsAlignedWritableAndMoves) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{4097}, (std::size_t{4} << 20) + 3}) {
    LargeBuffer buffer(bytes);
    ASSERT_EQ(buffer.size(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
    std::ranges::fill(buffer.span(), std::byte{7});
    std::byte* data = buffer.data();
    LargeBuffer other = std::move(buffer);
    EXPECT_EQ(other.data(), data);
    EXPECT_EQ(other.span().back(), std::byte{7});
    EXPECT_EQ(buffer.data(), nullptr);  // NOLINT: what a move leaves is promised
    buffer = std::move(other);
    EXPECT_EQ(buffer.data(), data);
  }
}

TEST(LargeBuffer, MayBeEmptyAndReportsWhatCannotBe) {
  EXPECT_EQ(LargeBuffer(0).data(), nullptr);
  EXPECT_THROW(LargeBuffer{std::numeric_limits<std::size_t>::max()}, std::bad_alloc);
  EXPECT_THROW(LargeBuffer(std::numeric_limits<std::size_t>::max() / 2), std::bad_alloc);
}

}  // namespace
}  // namespace monarch
