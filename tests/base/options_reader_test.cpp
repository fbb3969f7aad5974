#include "monarch/base/options_reader.h"
#include "tests/support/message_of.h"

#include <gtest/gtest.h>

namespace monarch {
namespace {

TEST(OptionsReader, ReadsAndKeepsDefaults) {
  const Json json = Json::parse(R"({"f_tied": 3, "w_reduce": null})");
  int f_tied = 1;
  int w_reduce = 7;
  OptionsReader reader(json, "monarch_args");
  EXPECT_TRUE(reader.read("f_tied", f_tied));
  EXPECT_FALSE(reader.read("w_reduce", w_reduce));
  reader.finish();
  EXPECT_EQ(f_tied, 3);
  EXPECT_EQ(w_reduce, 7);
}

TEST(OptionsReader, NamesTheNearestKnownKey) {
  const Json json = Json::parse(R"({"f_tide": 3})");
  int f_tied = 1;
  OptionsReader reader(json, "monarch_args");
  reader.read("f_tied", f_tied);
  EXPECT_EQ(message_of([&] { reader.finish(); }),
            "[config] unknown key 'f_tide' in monarch_args; did you mean 'f_tied'?");
}

template <typename T>
std::string message_for(const char* text) {
  const Json json = Json::parse(text);
  T value{};
  return message_of([&] { OptionsReader(json, "args").read("key", value); });
}

TEST(OptionsReader, SaysWhatWasGivenAndExpected) {
  EXPECT_EQ(message_for<int>(R"({"key": "three"})"),
            "[config] args.key has the wrong type: got \"three\"; an integer was expected");
  EXPECT_EQ(message_for<std::int64_t>(R"({"key": 2.5})"),
            "[config] args.key has the wrong type: got 2.5; an integer was expected");
  EXPECT_EQ(message_for<double>(R"({"key": true})"),
            "[config] args.key has the wrong type: got true; a number was expected");
  EXPECT_EQ(message_for<bool>(R"({"key": 1})"),
            "[config] args.key has the wrong type: got 1; true or false was expected");
  EXPECT_EQ(message_for<std::string>(R"({"key": [1]})"),
            "[config] args.key has the wrong type: got [1]; text was expected");
  EXPECT_EQ(message_for<std::vector<std::int64_t>>(R"({"key": [1000, 7.5]})"),
            "[config] args.key has the wrong type: got [1000,7.5]; a list was expected");
}

TEST(OptionsReader, TakesWhatLosesNothing) {
  EXPECT_EQ(message_for<double>(R"({"key": 2})"), "no error");
  EXPECT_EQ(message_for<std::int64_t>(R"({"key": -9223372036854775808})"), "no error");
  EXPECT_NE(message_for<std::int64_t>(R"({"key": 9223372036854775808})"), "no error");
  EXPECT_NE(message_for<int>(R"({"key": 3000000000})"), "no error");
  EXPECT_EQ((message_for<std::array<int, 2>>(R"({"key": [1, 2]})")), "no error");
  EXPECT_NE((message_for<std::array<int, 2>>(R"({"key": [1, 2, 3]})")), "no error");
  EXPECT_EQ(message_for<std::vector<double>>(R"({"key": [1, 2.5]})"), "no error");
}

}  // namespace
}  // namespace monarch
