// Attention by layer, head, denoising step and chunk, from the command line.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/apps/run_binary.h"
#include "tests/apps/tiny_model.h"

namespace monarch::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kWhole = "sampling_steps: 2\nguidance_scale: 1\n";
constexpr const char* kCausal =
    "causal: true\ndenoising_step_list: [1000, 500]\nnum_frame_per_block: 3\n";

class Hybrids : public ::testing::Test {
 protected:
  // Of the tiny model: 2 layers of 2 heads, tokens of 6 x 8.
  RunResult generate(const std::string& config, const std::string& flags = "",
                     const std::string& model = tiny_model()) {
    std::ofstream(folder_ / "my.yaml") << config;
    return run_monarch("generate --prompt x --model '" + model + "' --config '" +
                       (folder_ / "my.yaml") + "' --output '" + (folder_ / "a.gif") + "' " + flags);
  }
  // Forward passes of an operator.
  static std::int64_t count(const RunResult& run, const std::string& op) {
    std::int64_t total = 0;
    const Json report = Json::parse(run.output.substr(run.output.find('{')));
    for (const Json& runs : report.at("attention_runs")) {
      if (runs.at("op") != op) continue;
      EXPECT_TRUE(runs.at("implementation").get<std::string>().starts_with("cpu-")) << runs;
      total += runs.at("runs").get<std::int64_t>();
    }
    return total;
  }

  const TemporaryFolder folder_;
};

TEST_F(Hybrids, SayWhatRan) {
  const RunResult run = generate(std::string(kWhole) +
                                     "monarch_args: {enable: true}\n"
                                     "attention:\n"
                                     "  - {preset: dense, layers: 1, heads: 0}\n"
                                     "  - {preset: vmonarch, steps: 1, layers: 0}\n",
                                 "--frames 9 --json");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  // Layer 0 runs monarchrt, then vmonarch; layer 1 both of its groups in both steps.
  EXPECT_EQ(count(run, "monarchrt"), 1 + 2);
  EXPECT_EQ(count(run, "vmonarch"), 1);
  EXPECT_EQ(count(run, "dense"), 2);
  const Json report = Json::parse(run.output.substr(run.output.find('{')));
  EXPECT_EQ(report.at("attention"), "hybrid");
  EXPECT_EQ(report.at("attention_rules"),
            Json({"layers 1, heads 0: dense", "layers 0, steps 1: vmonarch, 2 iterations"}));
  EXPECT_NE(
      run_monarch("generate --prompt x --model '" + tiny_model() + "' --config '" +
                  (folder_ / "my.yaml") + "' --frames 9 -v --output '" + (folder_ / "a.gif") + "'")
          .output.find("% sparse; layers 1, heads 0: dense; layers 0, steps 1: vmonarch"),
      std::string::npos);
}

TEST_F(Hybrids, TheTilingChangesBetweenChunks) {
  const RunResult run = generate(std::string(kCausal) +
                                     "attention:\n"
                                     "  - {preset: monarchrt, chunks: 0, w_reduce: 2}\n"
                                     "  - {preset: monarchrt, chunks: 1, f_tied: 3, heads: 1}\n",
                                 "--frames 33 --json");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  // Two steps and the pass that fills the cache, in two layers.
  EXPECT_EQ(count(run, "monarchrt"), 2 * 2 * 3);
  EXPECT_EQ(count(run, "dense"), 2 * 2 * 3);
}

TEST_F(Hybrids, TheFlagAndTheFolder) {
  const std::string model = folder_ / "model";
  fs::copy(tiny_model(), model, fs::copy_options::recursive);
  Json config = Json::parse(std::ifstream(fs::path(model) / "config.json"));
  config["attention"] = Json::parse(R"([{"preset": "monarchrt", "layers": 1}])");
  std::ofstream(fs::path(model) / "config.json") << config.dump();
  const std::string flags = "--frames 9 --json";
  EXPECT_EQ(count(generate(kWhole, flags, model), "monarchrt"), 2);
  EXPECT_EQ(count(generate(std::string(kWhole) + "attention: []\n", flags, model), "monarchrt"), 0);
  EXPECT_EQ(count(generate(kWhole, flags + " --attention dense", model), "monarchrt"), 0);
  EXPECT_EQ(count(generate(kWhole, flags + " --attention monarchrt", model), "monarchrt"), 4);
}

TEST_F(Hybrids, BenchTimesThemBesideDense) {
  const std::string model = folder_ / "model";
  fs::copy(tiny_model(), model, fs::copy_options::recursive);
  std::ofstream(fs::path(model) / "generate.yaml", std::ios::app)
      << "\nattention: [{preset: monarchrt, steps: 0, f_tied: 3, w_reduce: 2}]\n";
  const RunResult run = run_monarch(
      "bench generate --threads 1 --repeats 1 --steps 1 --chunk-frames 3 --cached-frames 3 "
      "--model '" +
      model + "'");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  for (const char* text : {"steps 0: monarchrt, f_tied 3, h_reduce 1, w_reduce 2", "hybrid",
                           "\n  monarchrt forward: cpu-", "\n  dense forward: cpu-"})
    EXPECT_NE(run.output.find(text), std::string::npos) << text << "\n" << run.output;
}

TEST_F(Hybrids, SayWhatIsWrong) {
  const auto expect = [&](const std::string& config, const char* message) {
    const RunResult run = generate(config, "--frames 33");
    EXPECT_NE(run.exit_code, 0) << config;
    EXPECT_NE(run.output.find(message), std::string::npos) << run.output;
    EXPECT_EQ(std::count(run.output.begin(), run.output.end(), '\n'), 1) << run.output;
  };
  expect("attention: dense\n", "attention must be a list of rules");
  expect("attention: [{layers: 1}]\n", "attention[0] must be a mapping with a preset");
  expect("attention: [{preset: dense, layers: 2}]\n",
         "attention[0] names layer 2; the model has 2, numbered from 0");
  expect("attention: [{preset: dense, heads: 1-7}]\n",
         "attention[0] names head 7; the model has 2, numbered from 0");
  expect("attention: [{preset: dense, steps: 3-1}]\n",
         "attention[0].steps names \"3-1\"; write numbers from 0 on");
  expect("attention: [{preset: monarchrt, w_reduce: 5}]\n",
         "token width 8 is not divisible by w_reduce 5");
  expect("attention: [{preset: dense, chunks: 1}]\n", "attention[0] chooses by chunk");
  expect(std::string(kCausal) + "attention: [{preset: vmonarch, layers: 1}]\n",
         "vmonarch factorises the whole video at once and cannot run with a KV cache");
  expect(
      std::string(kCausal) +
          "attention: [{preset: monarchrt, heads: 0}, {preset: monarchrt, heads: 1, f_tied: 3}]\n",
      "layer 0 would keep its KV cache in two block orders in chunk 0");
  expect(std::string(kCausal) + "attention: [{preset: monarchrt, f_tied: 2}]\n",
         "num_frame_per_block 3 is not divisible by f_tied 2");
  expect(std::string(kCausal) +
             "model_kwargs: {sink_size: 1, local_attn_size: 6}\n"
             "attention: [{preset: monarchrt, f_tied: 3}]\n",
         "sink_size 1 would cut blocks of 3 frames");
}

}  // namespace
}  // namespace monarch::testing
