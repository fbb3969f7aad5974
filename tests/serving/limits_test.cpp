#include "monarch/serving/limits.h"

#include <gtest/gtest.h>

#include "monarch/serving/byte_range.h"
#include "tests/serving/refusal.h"

namespace monarch::serving {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(TokenBucket, AllowsABurstThenTheRate) {
  TokenBucket::Clock::time_point now{};
  TokenBucket bucket(2, 3, now);
  EXPECT_TRUE(bucket.take(now) && bucket.take(now) && bucket.take(now));
  EXPECT_FALSE(bucket.take(now));
  EXPECT_EQ(bucket.wait(now), seconds(1));
  now += milliseconds(500);
  EXPECT_TRUE(bucket.take(now));
  EXPECT_FALSE(bucket.take(now));
  now += seconds(60);
  EXPECT_TRUE(bucket.full(now));
  int taken = 0;
  while (bucket.take(now)) ++taken;
  EXPECT_EQ(taken, 3);  // an idle minute saves up no more than a burst
}

TEST(TokenBucket, WaitsAsLongAsItsRateSays) {
  const TokenBucket::Clock::time_point now{};
  TokenBucket bucket(0.1, 1, now);
  EXPECT_TRUE(bucket.take(now));
  EXPECT_EQ(bucket.wait(now), seconds(10));
  EXPECT_FALSE(bucket.take(now + seconds(9)));
  EXPECT_TRUE(bucket.take(now + seconds(10)));
  EXPECT_THROW(TokenBucket(0, 1, now), Error);
}

TEST(ByteRange, ReadsTheThreeForms) {
  const auto range = [](std::string_view header) {
    const auto found = parse_byte_range(header, 1000);
    return found ? content_range(*found, 1000) : "all";
  };
  EXPECT_EQ(range("bytes=0-99"), "bytes 0-99/1000");
  EXPECT_EQ(range("bytes=990-"), "bytes 990-999/1000");
  EXPECT_EQ(range("bytes=-5"), "bytes 995-999/1000");
  EXPECT_EQ(range("bytes=-5000"), "bytes 0-999/1000");
  EXPECT_EQ(range("bytes=5-99999999999999999999999"), "bytes 5-999/1000");
  for (const char* header : {"", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=9-5",
                             "bytes=0-1,5-6", "items=0-5", "bytes=+1-2", "bytes= 1-2"})
    EXPECT_EQ(range(header), "all") << header;
}

TEST(ByteRange, BehindTheEndIsRefused) {
  EXPECT_EQ(refusal_of([] { parse_byte_range("bytes=1000-", 1000); }).status, 416);
  EXPECT_EQ(refusal_of([] { parse_byte_range("bytes=-0", 1000); }).status, 416);
  EXPECT_EQ(refusal_of([] { parse_byte_range("bytes=0-", 0); }).status, 416);
  EXPECT_EQ(refusal_of([] { parse_byte_range("bytes=-1", 0); }).status, 416);
  EXPECT_EQ(refusal_of([] { parse_byte_range("bytes=99999999999999999999999-", 10); }).status, 416);
}

}  // namespace
}  // namespace monarch::serving
