#include "monarch/io/yaml.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/io/files.h"

namespace monarch::io {
namespace {

Json value(const std::string& text) { return parse_yaml("x: " + text, "t.yaml")["x"]; }

void expect_rejected(const std::string& text, std::initializer_list<std::string_view> parts) {
  expect_error([&] { parse_yaml(text, "t.yaml"); }, ErrorCode::kInvalidArgument, parts);
}

class Yaml : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_yaml()) GTEST_SKIP() << "built without yaml-cpp";
  }
};

TEST_F(Yaml, Scalars) {
  EXPECT_EQ(value("2.0e-06"), 2.0e-06);
  EXPECT_EQ(value("1e-5"), 1e-5);
  EXPECT_TRUE(value("1e5").is_number_float());
  EXPECT_TRUE(value("5.").is_number_float());
  EXPECT_EQ(value(".5"), 0.5);
  EXPECT_EQ(value("-1_000.5"), -1000.5);
  EXPECT_TRUE(value("0").is_number_integer());
  EXPECT_EQ(value("-12"), -12);
  EXPECT_EQ(value("1_000"), 1000);
  EXPECT_EQ(value("0x1F"), 31);
  EXPECT_EQ(value("010"), 8);
  EXPECT_EQ(value("0b101"), 5);
  EXPECT_EQ(value("99999999999999999999"), 99999999999999999999.0);
  EXPECT_TRUE(std::isinf(value(".inf").get<double>()));
  EXPECT_TRUE(std::isnan(value(".nan").get<double>()));
  EXPECT_EQ(value("true"), true);
  EXPECT_EQ(value("FALSE"), false);
  EXPECT_EQ(value("yes"), true);
  EXPECT_EQ(value("Off"), false);
  EXPECT_EQ(value("null"), nullptr);
  EXPECT_EQ(value("~"), nullptr);
  EXPECT_EQ(value(""), nullptr);
}

TEST_F(Yaml, Strings) {
  for (const std::string text : {"word", "tRUE", "1.2.3", "e5", "1e", "_1", "0x", "08", "12:30",
                                 ".", "1e5x", "path/to/data.mdb", "2024-01-01"}) {
    EXPECT_EQ(value(text), text) << text;
  }
  EXPECT_EQ(value("'1e-5'"), "1e-5");
  EXPECT_EQ(value("\"true\""), "true");
  EXPECT_EQ(value("'色调艳丽，过曝'"), "色调艳丽，过曝");
  EXPECT_EQ(value("!!str 5"), "5");
}

TEST_F(Yaml, Structures) {
  const Json json =
      parse_yaml("# comment\na:\n  b: [1, 2.5, x]\n  c:\n  - 1000\n  - {d: null}\ne: 3", "t.yaml");
  EXPECT_EQ(json, Json::parse(R"({"a":{"b":[1,2.5,"x"],"c":[1000,{"d":null}]},"e":3})"));
  EXPECT_EQ(parse_yaml("", "t.yaml"), nullptr);
  EXPECT_EQ(parse_yaml("a: &x {b: 1}\nc: *x", "t.yaml")["c"]["b"], 1);
}

TEST_F(Yaml, RejectsWithLine) {
  expect_rejected("a: 1\nb: [1,", {"t.yaml line 2"});
  expect_rejected("a: 1\na: 2", {"t.yaml line 2: the key 'a' occurs twice"});
  expect_rejected("a: 1\nb:\n  <<: {c: 1}", {"line 3: merge keys"});
  expect_rejected("a: !!python/object:os.system x", {"line 1: the tag", "not allowed"});
  expect_rejected("[1, 2]: x", {"a key is not a single word"});
  expect_rejected("a: 1\n---\nb: 2", {"holds more than one document"});
  expect_rejected(",!s", {"t.yaml"});
  expect_rejected("a: \xff", {"t.yaml is not a UTF-8 text"});
  expect_rejected("a: &x [*x]", {"t.yaml line 1"});
  std::string bomb = "a0: &a0 [x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += (j > 0 ? ", " : "") + before;
    bomb += "]\n";
  }
  expect_rejected(bomb, {"nested too deep or too large"});
  expect_rejected(std::string(100000, '['), {"t.yaml"});
}

TEST_F(Yaml, ReadsFiles) {
  const TemporaryFolder folder;
  write_raw(folder / "empty.yaml", "# nothing\n");
  write_raw(folder / "list.yaml", "- 1\n");
  EXPECT_EQ(read_yaml(folder / "empty.yaml"), Json::object());
  expect_error([&] { read_yaml(folder / "list.yaml"); }, ErrorCode::kInvalidArgument,
               {"list.yaml must be a mapping", "array"});
  expect_error([&] { read_yaml(folder / "none.yaml"); }, ErrorCode::kNotFound,
               {"there is no file", "none.yaml"});
}

TEST_F(Yaml, ReadsTheShippedConfigs) {
  const auto folder = std::filesystem::path(MONARCH_SOURCE_DIR) / "configs";
  const Json defaults = read_yaml(folder / "default_config.yaml");
  const Json merged = deep_merge(defaults, read_yaml(folder / "self_forcing_monarch_dmd.yaml"));
  EXPECT_EQ(merged["lr"], 2.0e-06);
  EXPECT_EQ(merged["denoising_step_list"], Json::array({1000, 750, 500, 250}));
  EXPECT_EQ(merged["monarch_args"]["enable"], true);
  EXPECT_EQ(merged["monarch_args"]["f_tied"], 1);
}

TEST(DeepMerge, MergesMapsAndReplacesTheRest) {
  const Json base = Json::parse(R"({"a":{"x":1,"y":{"z":[1,2]}},"b":[1,2],"c":3})");
  const Json over = Json::parse(R"({"a":{"y":{"w":5}},"b":[9],"c":{"d":1},"e":null})");
  EXPECT_EQ(deep_merge(base, over),
            Json::parse(R"({"a":{"x":1,"y":{"z":[1,2],"w":5}},"b":[9],"c":{"d":1},"e":null})"));
}

}  // namespace
}  // namespace monarch::io
