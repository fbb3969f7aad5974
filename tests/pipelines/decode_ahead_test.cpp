// Without a GPU there is no second stream; the order of decoding and delivery is what is left.
#include "monarch/pipelines/decode_ahead.h"

#include <gtest/gtest.h>

#include <string>

#include "monarch/base/error.h"

namespace monarch::pipelines {
namespace {

struct Log {
  std::string text;
  int wanted = 100;

  DecodeAhead decoder(bool ahead) {
    return {at::kCPU,
            [this](const at::Tensor& latents) {
              text += str_cat(" d", latents.item<int64_t>());
              return latents + 10;
            },
            [this](const at::Tensor& frames) {
              text += str_cat(" w", frames.item<int64_t>());
              return --wanted > 0;
            },
            ahead};
  }
  static at::Tensor chunk(int64_t number) { return at::full({}, number, at::kLong); }
};

TEST(DecodeAhead, DeliversAtOnceWhereNothingRunsBeside) {
  Log log;
  DecodeAhead decoder = log.decoder(false);
  for (const int64_t number : {1, 2}) EXPECT_TRUE(decoder.add(Log::chunk(number)));
  decoder.finish();
  EXPECT_EQ(log.text, " d1 w11 d2 w12");
}

TEST(DecodeAhead, DeliversAChunkWhenTheNextIsQueued) {
  Log log;
  DecodeAhead decoder = log.decoder(true);
  for (const int64_t number : {1, 2, 3}) EXPECT_TRUE(decoder.add(Log::chunk(number)));
  EXPECT_EQ(log.text, " d1 d2 w11 d3 w12");
  decoder.finish();
  decoder.finish();
  EXPECT_EQ(log.text, " d1 d2 w11 d3 w12 w13");
}

TEST(DecodeAhead, NothingIsDeliveredThatIsNotWanted) {
  Log log{.text = "", .wanted = 1};
  DecodeAhead decoder = log.decoder(true);
  EXPECT_TRUE(decoder.add(Log::chunk(1)));
  EXPECT_FALSE(decoder.add(Log::chunk(2)));
  decoder.finish();
  EXPECT_EQ(log.text, " d1 d2 w11");
}

}  // namespace
}  // namespace monarch::pipelines
