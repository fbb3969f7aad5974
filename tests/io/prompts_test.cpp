#include "monarch/io/prompts.h"

#include <gtest/gtest.h>

#include "tests/io/files.h"

namespace monarch::io {
namespace {

using Lines = std::vector<std::string>;

TEST(Prompts, Lines) {
  EXPECT_EQ(parse_prompts("", "p"), Lines{});
  EXPECT_EQ(parse_prompts("a\nb", "p"), (Lines{"a", "b"}));
  EXPECT_EQ(parse_prompts("a\n\nb\n", "p"), (Lines{"a", "", "b"}));
  EXPECT_EQ(parse_prompts("a \t\r\n b\r\rc", "p"), (Lines{"a", " b", "", "c"}));
  EXPECT_EQ(parse_prompts("\uFEFFa\u3000\u00A0\n一只猫\n", "p"), (Lines{"a", "一只猫"}));
}

TEST(Prompts, RejectsWithLine) {
  expect_error([] { parse_prompts("a\nb\xff\n", "p.txt"); }, ErrorCode::kCorrupt,
               {"p.txt line 2 is not UTF-8"});
  expect_error([] { read_prompts("/none/p.txt"); }, ErrorCode::kNotFound, {"/none/p.txt"});
}

}  // namespace
}  // namespace monarch::io
