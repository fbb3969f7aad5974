// `monarch compare` on the tiny model, on synthetic heads and on a file.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "monarch/io/safetensors.h"
#include "tests/apps/run_binary.h"
#include "tests/apps/tiny_model.h"

namespace monarch::testing {
namespace {

using Json = nlohmann::json;

std::string quoted(const std::string& path) { return "'" + path + "'"; }

TEST(Compare, SyntheticHeadsGiveAReport) {
  const TemporaryFolder folder;
  const RunResult run =
      run_monarch("compare --quiet --on synthetic --synthetic-grid 2x4x6 --output " +
                  quoted(folder / "r.html") + " --json " + quoted(folder / "r.json"));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const Json report = Json::parse(read_file(folder / "r.json"));
  ASSERT_EQ(report["sources"].size(), 3U);
  EXPECT_EQ(report["sources"][0]["name"], "synthetic periodic, 2x4x6");
  std::set<std::string> families;
  for (const Json& method : report["sources"][0]["methods"]) families.insert(method["family"]);
  EXPECT_EQ(families.size(), 9U);
  EXPECT_FALSE(report["claims"].empty());
  const std::string html = read_file(folder / "r.html");
  EXPECT_TRUE(html.starts_with("<!DOCTYPE html>"));
  EXPECT_TRUE(html.ends_with("</html>\n"));
}

// Settings with which the tiny model takes a moment.
std::string small_config(const TemporaryFolder& folder) {
  std::ofstream(folder / "small.yaml") << "{width: 64, height: 48, num_frames: 5}\n";
  return quoted(folder / "small.yaml");
}

TEST(Compare, AModelIsCapturedComparedAndGivenASetting) {
  const TemporaryFolder folder;
  const std::string model = quoted(tiny_model());
  std::ofstream(folder / "prompts.txt") << "a red circle\n";
  const RunResult run = run_monarch(
      "compare --quiet --on model --model " + model + " --config " + small_config(folder) +
      " --steps 2 --videos 1 --timesteps 2 --heads 3 --prompt-file " +
      quoted(folder / "prompts.txt") + " --output " + quoted(folder / "r.html") + " --json " +
      quoted(folder / "r.json") + " --psnr 1 --suggest " + quoted(folder / "attention.yaml"));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const Json report = Json::parse(read_file(folder / "r.json"));
  EXPECT_EQ(report["sources"][0]["heads"], 3);
  EXPECT_EQ(report["sources"][0]["timesteps"].size(), 2U);
  EXPECT_EQ(report["sources"][0]["by_layer"]["layers"][0]["errors"].size(), 2U);
  EXPECT_GT(report["end_quality"]["methods"].size(), 5U);
  EXPECT_EQ(report["end_quality"]["methods"][0]["family"], "dense");
  EXPECT_EQ(report["end_quality"]["methods"][0]["ssim"], 1.0);
  // One decibel: the cheapest setting will do.
  EXPECT_EQ(report["suggestion"]["tried"].size(), 1U);
  const std::string yaml = read_file(folder / "attention.yaml");
  EXPECT_NE(yaml.find("enable: true"), std::string::npos) << yaml;
  const RunResult again =
      run_monarch("generate --dry-run --prompt x --model " + model + " --config " +
                  quoted(folder / "attention.yaml") + " --size 64x48 --frames 5");
  EXPECT_EQ(again.exit_code, 0) << again.output;
}

TEST(Compare, SuggestsDenseWhereNothingIsGoodEnough) {
  const TemporaryFolder folder;
  const RunResult run = run_monarch(
      "compare --quiet --on model --model " + quoted(tiny_model()) + " --config " +
      small_config(folder) + " --steps 1 --videos 0 --timesteps 1 --heads 1 --output " +
      quoted(folder / "r.html") + " --psnr 200 --suggest " + quoted(folder / "attention.yaml"));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const std::string yaml = read_file(folder / "attention.yaml");
  EXPECT_NE(yaml.find("\nmonarch_args: {enable: false}\nattention: []\n"), std::string::npos)
      << yaml;
}

// Writes q, k and v [1, 12, 2, 4]; without `v` if its shape is empty.
void write_qkv(const std::string& path, std::vector<float> values,
               const std::vector<std::int64_t>& v_shape = {1, 12, 2, 4}) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(values));
  std::vector<io::TensorEntry> entries;
  for (const char* name : {"q", "k"}) entries.push_back({name, DType::kF32, {1, 12, 2, 4}, bytes});
  if (!v_shape.empty()) entries.push_back({"v", DType::kF32, v_shape, bytes});
  io::write_safetensors(path, entries);
}

std::vector<float> some_values() {
  std::vector<float> values(12 * 2 * 4);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 37 % 11) - 5;
  return values;
}

TEST(Compare, AFileOfQkv) {
  const TemporaryFolder folder;
  write_qkv(folder / "qkv.safetensors", some_values());
  const RunResult run = run_monarch("compare --quiet --output " + quoted(folder / "r.html") +
                                    " --budget 0.5,0.25 --json " + quoted(folder / "r.json") +
                                    " --grid 2x2x3 --qkv " + quoted(folder / "qkv.safetensors"));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const Json report = Json::parse(read_file(folder / "r.json"));
  EXPECT_EQ(report["sources"][0]["heads"], 2);
  std::set<std::string> oracles;
  for (const Json& method : report["sources"][0]["methods"]) {
    if (method["family"] == "oracle top-k") oracles.insert(method["name"]);
  }
  EXPECT_TRUE(oracles.contains("50 % of the keys") && oracles.contains("25 % of the keys"));
}

TEST(Compare, BadInputGivesOneClearError) {
  const TemporaryFolder folder;
  std::vector<float> nan = some_values();
  nan[17] = std::numeric_limits<float>::quiet_NaN();
  write_qkv(folder / "qkv", some_values());
  write_qkv(folder / "no_v", some_values(), {});
  write_qkv(folder / "short_v", some_values(), {1, 6, 4, 4});
  write_qkv(folder / "flat_v", some_values(), {12, 8});
  write_qkv(folder / "nan", nan);
  const auto file = [&](const char* name) { return " --qkv " + quoted(folder / name); };
  struct Case {
    std::string arguments;
    int exit_code;
    const char* message;
  };
  const std::vector<Case> cases{
      {file("qkv"), 2, "--qkv needs --grid"},
      {file("qkv") + " --grid 2x2x4", 2, "[16, head_dim] was expected"},
      {file("qkv") + " --grid 2x2", 2, "for example 3x30x52"},
      {file("no_v") + " --grid 2x2x3", 1, "has no tensor 'v'"},
      {file("short_v") + " --grid 2x2x3", 2, "v [1, 6, 4, 4] do not agree"},
      {file("flat_v") + " --grid 2x2x3", 2, "v has shape [12, 8]"},
      {file("nan") + " --grid 2x2x3", 1, "1 of the 96 numbers of tensor 'q'"},
      {file("none") + " --grid 2x2x3", 1, "none"},
      {file("qkv") + " --grid 2x2x3 --on model", 2, "give one of them"},
      {file("qkv") + " --grid 2x2x3 --suggest x.yaml", 2, "--suggest makes videos with a model"},
      {" --grid 2x2x3", 2, "--grid says how the tokens of --qkv lie"},
      {" --on synthetic --synthetic-grid 0x4x4", 2, "--synthetic-grid 0x4x4 is not"},
      {" --budget 0", 2, "--budget is a part of the keys"},
      {" --budget 0.1,1.5", 2, "but is 1.5"},
      {" --psnr nan --suggest x.yaml", 2, "--psnr must be above 0"},
      {" --queries 0", 2, "--queries"},
      {" --on something", 2, "something"},
      {" --on model --model " + quoted(folder / "nothing"), 1, "nothing"},
      {" --on model --prompt-file " + quoted(folder / "nothing.txt"), 1, "nothing.txt"},
      {" --json " + quoted(folder / "none/r.json"), 1, "none"},
  };
  for (const Case& bad : cases) {
    const RunResult run =
        run_monarch("compare --quiet --output " + quoted(folder / "r.html") + bad.arguments);
    EXPECT_EQ(run.exit_code, bad.exit_code) << bad.arguments << '\n' << run.output;
    EXPECT_NE(run.output.find(bad.message), std::string::npos) << bad.arguments << '\n'
                                                               << run.output;
    EXPECT_EQ(std::count(run.output.begin(), run.output.end(), '\n'), 1) << bad.arguments << '\n'
                                                                         << run.output;
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "r.html"));
  const RunResult unwritable =
      run_monarch("compare --quiet --on synthetic --output " + quoted(folder / "none/r.html"));
  EXPECT_EQ(unwritable.exit_code, 1);
  EXPECT_NE(unwritable.output.find("none"), std::string::npos) << unwritable.output;
}

TEST(Compare, CausalModelsAreRefusedBeforeTheWork) {
  const TemporaryFolder folder;
  const RunResult run =
      run_monarch("compare --output " + quoted(folder / "r.html") + " --model " +
                  quoted(tiny_model()) + " --config configs/self_forcing_monarch_dmd.yaml");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.output.find("give a bidirectional model (causal: false)"), std::string::npos)
      << run.output;
  EXPECT_EQ(std::count(run.output.begin(), run.output.end(), '\n'), 1) << run.output;
}

}  // namespace
}  // namespace monarch::testing
