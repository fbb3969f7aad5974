// inspect, convert and verify as their users run them.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/apps/run_binary.h"

namespace monarch::testing {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

const char* const kTorchFile = "tests/fixtures/io/model.pt";

class CheckpointCommands : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TemporaryFolder;
    const RunResult made = run_monarch("init '" + model() + "' --preset tiny --tokenizer " +
                                       "tests/fixtures/wan/tokenizer_unk.model");
    ASSERT_EQ(made.exit_code, 0) << made.output;
  }
  static void TearDownTestSuite() { delete shared_; }
  static std::string model() { return *shared_ / "tiny"; }

  static TemporaryFolder* shared_;
  TemporaryFolder folder_;
};
TemporaryFolder* CheckpointCommands::shared_ = nullptr;

void expect_failure(const RunResult& run, int exit_code, const std::string& part) {
  EXPECT_EQ(run.exit_code, exit_code) << run.output;
  EXPECT_NE(run.output.find(part), std::string::npos) << run.output;
}

TEST_F(CheckpointCommands, InspectsATorchFile) {
  const RunResult run = run_monarch(std::string("inspect --json ") + kTorchFile);
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const Json report = Json::parse(run.output);
  EXPECT_EQ(report["kind"], "checkpoint");
  EXPECT_EQ(report["num_tensors"], 15);
  EXPECT_EQ(report["dtypes"]["F32"]["tensors"], 15);
  EXPECT_EQ(report["contains"].size(), 3u);
  EXPECT_EQ(report["contains"][0]["is"], "Wan transformer");
  EXPECT_EQ(report["sha256"].get<std::string>().size(), 64u);
}

TEST_F(CheckpointCommands, InspectsModelFoldersConfigsAndStrangers) {
  const Json report = Json::parse(run_monarch("inspect --json '" + model() + "'").output);
  EXPECT_EQ(report["kind"], "model folder");
  EXPECT_EQ(report["usable"], true);
  EXPECT_EQ(report["parts"].size(), 4u);
  EXPECT_EQ(run_monarch("inspect '" + model() + "'").exit_code, 0);
  const RunResult config = run_monarch("inspect configs/self_forcing_dmd.yaml");
  EXPECT_EQ(config.exit_code, 0);
  EXPECT_NE(config.output.find("configuration"), std::string::npos);
  std::ofstream(folder_ / "page.pth") << "<html>";
  expect_failure(run_monarch("inspect '" + folder_ / "page.pth" + "'"), 1, "is a web page");
  expect_failure(run_monarch("inspect /none.pth"), 1, "there is no file /none.pth");
}

TEST_F(CheckpointCommands, ConvertsThereAndBack) {
  const std::string safe = folder_ / "x.safetensors", back = folder_ / "y.pt";
  const RunResult out = run_monarch(std::string("convert ") + kTorchFile + " '" + safe +
                                    "' --group generator_ema --wan-names --dtype bfloat16");
  ASSERT_EQ(out.exit_code, 0) << out.output;
  const Json report = Json::parse(run_monarch("inspect --json --tensors '" + safe + "'").output);
  EXPECT_EQ(report["num_tensors"], 5);
  EXPECT_EQ(report["dtypes"]["BF16"]["tensors"], 5);
  EXPECT_EQ(report["tensors"][0]["name"], "blocks.0.modulation");
  EXPECT_EQ(run_monarch("convert '" + safe + "' '" + back + "'").exit_code, 0);
  EXPECT_EQ(Json::parse(run_monarch("inspect --json '" + back + "'").output)["num_tensors"], 5);
  expect_failure(run_monarch(std::string("convert ") + kTorchFile + " x.bin"), 2, "x.bin");
  expect_failure(run_monarch(std::string("convert ") + kTorchFile + " '" + safe + "' --group no"),
                 2, "has no tensors in no");
  expect_failure(run_monarch(std::string("convert ") + kTorchFile + " '" + safe + "' --dtype f7"),
                 2, "unknown --dtype f7");
}

TEST_F(CheckpointCommands, ConvertsAShardedCheckpoint) {
  const std::string sample = "tests/fixtures/training/checkpoint_sample/";
  const std::string safe = folder_ / "x.safetensors", plain = folder_ / "y.safetensors";
  const auto convert = [](const std::string& from, const std::string& to) {
    const RunResult run = run_monarch("convert " + from + " '" + to + "' --group generator");
    EXPECT_EQ(run.exit_code, 0) << run.output;
  };
  convert(sample + "checkpoint_model_000050", safe);
  convert(sample + "model.pt", plain);
  const auto tensors = [](const std::string& file) {
    return Json::parse(run_monarch("inspect --json --tensors '" + file + "'").output)["tensors"];
  };
  EXPECT_FALSE(tensors(plain).empty());
  EXPECT_EQ(tensors(safe), tensors(plain));
}

TEST_F(CheckpointCommands, VerifiesAModelFolder) {
  const RunResult sound = run_monarch("verify '" + model() + "'");
  EXPECT_EQ(sound.exit_code, 0) << sound.output;
  EXPECT_NE(sound.output.find("is complete and sound"), std::string::npos);
  const std::string broken = folder_ / "broken";
  fs::copy(model(), broken, fs::copy_options::recursive);
  for (const auto& item : fs::directory_iterator(broken)) {
    if (item.path().filename().string().starts_with("Wan2.1_VAE")) fs::remove(item.path());
    if (item.path().filename().string().starts_with("diffusion_pytorch_model")) {
      fs::resize_file(item.path(), 100);
    }
  }
  const RunResult bad = run_monarch("verify '" + broken + "'");
  expect_failure(bad, 1, "FAILED  vae");
  expect_failure(bad, 1, "truncated");
  expect_failure(bad, 1, "has 2 problems");
}

}  // namespace
}  // namespace monarch::testing
