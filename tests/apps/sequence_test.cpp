// Processes that make every video together, as their users start them.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "monarch/io/checkpoint.h"
#include "tests/apps/run_binary.h"
#include "tests/apps/tiny_model.h"

namespace monarch::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTogether = " --sequence-parallel-size 2";

// The distance of two files' latents in parts of the second's size.
double difference(const fs::path& a, const fs::path& b) {
  const auto first = io::open_checkpoint(a), second = io::open_checkpoint(b);
  const std::vector<double> x = io::to_doubles(*first->find("latents"));
  const std::vector<double> y = io::to_doubles(*second->find("latents"));
  EXPECT_EQ(x.size(), y.size());
  double error = 0, size = 0;
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    error += (x[i] - y[i]) * (x[i] - y[i]);
    size += y[i] * y[i];
  }
  return std::sqrt(error / size);
}

class SequenceParallel : public ::testing::Test {
 protected:
  // Of the tiny model: 2 heads, tokens of 6 x 8.
  std::string generate(const std::string& name, const std::string& more) const {
    return "generate --prompt x --model '" + tiny_model() + "' --config '" + (folder_ / "my.yaml") +
           "' --output '" + (folder_ / name) + ".gif' --save-latents '" + (folder_ / name) +
           ".safetensors' " + more;
  }

  const TemporaryFolder folder_;
};

TEST_F(SequenceParallel, TheVideoIsThatOfOneProcess) {
  const std::pair<const char*, const char*> runs[] = {
      {"sampling_steps: 2\nattention: [{preset: monarchrt, heads: 1}]\n", "--frames 9"},
      {"causal: true\nsampling_steps: 2\nnum_frame_per_block: 3\n", "--frames 21"},
      {"causal: true\ndenoising_step_list: [1000, 500]\nnum_frame_per_block: 3\n"
       "monarch_args: {enable: true, h_reduce: 3}\n",
       "--frames 33"}};
  for (const auto& [config, flags] : runs) {
    SCOPED_TRACE(config);
    std::ofstream(folder_ / "my.yaml") << config;
    const RunResult one = run_monarch(generate("one", flags));
    ASSERT_EQ(one.exit_code, 0) << one.output;
    const auto both = run_two_processes(generate("two", flags + std::string(kTogether)));
    ASSERT_EQ(both[0].exit_code, 0) << both[0].output << both[1].output;
    EXPECT_EQ(both[1].exit_code, 0) << both[1].output;
    EXPECT_NE(both[0].output.find("two.gif"), std::string::npos) << both[0].output;
    EXPECT_EQ(both[1].output, "");
    EXPECT_TRUE(fs::exists(folder_ / "two.gif"));
    EXPECT_LT(difference(folder_ / "two.safetensors", folder_ / "one.safetensors"), 1e-4);
  }
}

TEST_F(SequenceParallel, SaysWhatDoesNotFit) {
  std::ofstream(folder_ / "my.yaml") << "sampling_steps: 2\n";
  RunResult run = run_monarch(generate("a", kTogether));
  EXPECT_EQ(run.exit_code, 2) << run.output;
  EXPECT_NE(run.output.find("--sequence-parallel-size is 2, but one process started one process; "
                            "start as many (torchrun --no-python --nproc-per-node 2 bin/monarch "
                            "generate ...)"),
            std::string::npos)
      << run.output;
  run = run_monarch("serve --sequence-parallel-size 2");
  EXPECT_EQ(run.exit_code, 2) << run.output;
  EXPECT_NE(run.output.find("[serve] --sequence-parallel-size is 2, but"), std::string::npos)
      << run.output;
  const auto low =
      run_two_processes(generate("b", "--size 32x16 --frames 5" + std::string(kTogether)));
  for (const RunResult& one : low) {
    EXPECT_NE(one.exit_code, 0);
    EXPECT_NE(one.output.find("a video of 1 rows of tokens does not split over 2 processes"),
              std::string::npos)
        << one.output;
  }
}

// Losses of the first iteration: of one process, of two that share its video.
TEST_F(SequenceParallel, TrainsAsOneProcessDoes) {
  std::ofstream(folder_ / "prompts.txt") << "a red circle\na blue square\nsome dog\n";
  const auto losses = [&](const std::string& name, int size) -> std::pair<double, double> {
    std::ofstream(folder_ / "dmd.yaml")
        << tiny_distillation(folder_ / "prompts.txt")
        << "num_training_frames: 6\nsequence_parallel_size: " << size << '\n';
    const std::string command = "train --config '" + (folder_ / "dmd.yaml") + "' --logdir '" +
                                (folder_ / name) + "' --iterations 1";
    const RunResult run = size == 1 ? run_monarch(command) : run_two_processes(command)[0];
    EXPECT_EQ(run.exit_code, 0) << run.output;
    std::ifstream file(fs::path(folder_ / name) / "metrics.jsonl");
    std::string line;
    std::getline(file, line);
    const nlohmann::json metrics = nlohmann::json::parse(line);
    return {metrics.at("generator_loss"), metrics.at("critic_loss")};
  };
  const auto one = losses("one", 1), two = losses("two", 2);
  EXPECT_NEAR(two.first, one.first, 1e-4 * std::abs(one.first));
  EXPECT_NEAR(two.second, one.second, 1e-4 * std::abs(one.second));
}

}  // namespace
}  // namespace monarch::testing
