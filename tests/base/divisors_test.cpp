#include "monarch/base/divisors.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"

namespace monarch {
namespace {

TEST(Divisors, AreListedAsASentenceEnds) {
  EXPECT_EQ(divisors(52), "1, 2, 4, 13, 26 or 52");
  EXPECT_EQ(divisors(36), "1, 2, 3, 4, 6, 9, 12, 18 or 36");
  EXPECT_EQ(divisors(7), "1 or 7");
  EXPECT_EQ(divisors(1), "1");
  EXPECT_EQ(divisors(0), "");
}

std::string message(std::int64_t size, std::int64_t divisor, std::int64_t candidates = 0) {
  try {
    check_divides("[room] ", "width", size, "w_reduce", divisor, candidates);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "fits";
}

TEST(Divisors, CheckSaysWhatWouldDo) {
  EXPECT_EQ(message(52, 13), "fits");
  EXPECT_EQ(message(52, 3),
            "[room] width 52 is not divisible by w_reduce 3; use 1, 2, 4, 13, 26 or 52");
  EXPECT_EQ(message(9, 2, 3), "[room] width 9 is not divisible by w_reduce 2; use 1 or 3");
  EXPECT_EQ(message(52, 0), "[room] w_reduce must be at least 1, but is 0");
  EXPECT_EQ(message(52, -4), "[room] w_reduce must be at least 1, but is -4");
}

}  // namespace
}  // namespace monarch
