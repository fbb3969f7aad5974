#include "monarch/base/options_reader.h"

#include <gtest/gtest.h>

namespace monarch {
namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

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

TEST(OptionsReader, SaysWhatWasGiven) {
  const Json json = Json::parse(R"({"f_tied": "three"})");
  int f_tied = 1;
  OptionsReader reader(json, "monarch_args");
  EXPECT_EQ(message_of([&] { reader.read("f_tied", f_tied); }),
            "[config] monarch_args.f_tied has the wrong type: got \"three\"");
}

}  // namespace
}  // namespace monarch
