#include "monarch/serving/endpoint.h"

#include <gtest/gtest.h>

#include "monarch/serving/outbox.h"
#include "tests/serving/refusal.h"

namespace monarch::serving {
namespace {

TEST(Target, IsDecodedAndChecked) {
  HttpRequest request;
  parse_target("/a%20b?prompt=a+red%2Bcircle&seed=7&flag&", request);
  EXPECT_EQ(request.path, "/a b");
  EXPECT_EQ(request.query.at("prompt"), "a red+circle");
  EXPECT_EQ(request.query.at("seed"), "7");
  EXPECT_EQ(request.query.at("flag"), "");
  for (const char* target : {"", "*", "http://localhost/", "/%", "/%4", "/%zz", "/%00", "/%0d%0a",
                             "/%ff", "/?a=1&a=2"}) {
    HttpRequest refused;
    EXPECT_EQ(refusal_of([&] { parse_target(target, refused); }).status, 400) << target;
  }
}

TEST(Outbox, IsBoundedAndSaysSoOnce) {
  int wakes = 0;
  Outbox outbox(10, [&] { ++wakes; });
  EXPECT_EQ(outbox.front(), nullptr);
  EXPECT_TRUE(outbox.send("12345", true));
  EXPECT_TRUE(outbox.send("67890", false));
  EXPECT_EQ(outbox.queued_bytes(), 10U);
  EXPECT_EQ(outbox.front()->bytes, "12345");
  outbox.pop();
  EXPECT_FALSE(outbox.front()->text);
  EXPECT_EQ(outbox.queued_bytes(), 5U);
  EXPECT_FALSE(outbox.send("123456", true));
  EXPECT_EQ(outbox.state(), Outbox::State::kOverflow);
  EXPECT_FALSE(outbox.send("1", true));
  EXPECT_EQ(wakes, 3);
}

TEST(Outbox, ClosesAfterItsQueueAndFreesItWhenDetached) {
  int wakes = 0;
  Outbox outbox(10, [&] { ++wakes; });
  outbox.send("1234", true);
  outbox.close();
  EXPECT_EQ(outbox.state(), Outbox::State::kClosing);
  EXPECT_FALSE(outbox.send("5", true));
  EXPECT_NE(outbox.front(), nullptr);
  outbox.detach();
  EXPECT_EQ(outbox.front(), nullptr);
  EXPECT_EQ(outbox.queued_bytes(), 0U);
  outbox.close();
  EXPECT_EQ(wakes, 2);
}

}  // namespace
}  // namespace monarch::serving
