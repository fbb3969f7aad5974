#include "monarch/models/wan/verify.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "monarch/base/error.h"
#include "monarch/io/safetensors.h"
#include "monarch/models/wan/tensors.h"
#include "monarch/models/wan/vae.h"

namespace monarch::models {
namespace {

namespace fs = std::filesystem;

class VerifyTest : public testing::Test {
 protected:
  VerifyTest()
      : folder_(fs::temp_directory_path() / ("monarch_verify_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    config_.dim = 8;
    config_.z_dim = 4;
    config_.complete();
  }
  ~VerifyTest() override { fs::remove_all(folder_); }

  std::vector<std::string> problems(const TensorMap& tensors) {
    std::vector<at::Tensor> storage;
    const auto entries = to_entries(tensors, storage);
    io::write_safetensors(folder_ / "vae.safetensors", entries);
    const auto checkpoint = io::open_checkpoint(folder_ / "vae.safetensors");
    return verify_weights("vae", *checkpoint, parameter_shapes(config_)).problems;
  }

  fs::path folder_;
  VaeConfig config_;
};

TEST_F(VerifyTest, SoundWeightsHaveNoProblems) {
  EXPECT_TRUE(problems(random_parameters(config_, 1)).empty());
}

TEST_F(VerifyTest, ListsEverythingAtOnce) {
  TensorMap tensors = random_parameters(config_, 1);
  tensors.erase("conv2.bias");
  tensors["conv1.bias"] = at::zeros({3});
  tensors["extra"] = at::zeros({1});
  tensors["decoder.conv1.bias"][2] = std::numeric_limits<float>::quiet_NaN();
  const auto found = problems(tensors);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0], "conv1.bias has the shape [3], expected [8]");
  EXPECT_EQ(found[1], "decoder.conv1.bias holds an infinity or NaN at element 2");
  EXPECT_EQ(found[2], "extra is not part of this model");
  EXPECT_EQ(found[3], "conv2.bias [4] is missing");
}

TEST_F(VerifyTest, FolderReportsMissingParts) {
  std::ofstream(folder_ / "config.json") << "{}";
  const ModelFolder model = find_model(folder_);
  EXPECT_EQ(model.missing.size(), 4u);
  const auto reports = verify_model(model);
  ASSERT_EQ(reports.size(), 4u);
  for (const PartReport& report : reports) {
    ASSERT_EQ(report.problems.size(), 1u) << report.part;
    EXPECT_EQ(report.problems[0], "the folder has no such part");
  }
  std::ofstream(folder_ / "Wan2.1_VAE.pth") << "<html>";
  const auto broken = verify_model(find_model(folder_));
  EXPECT_NE(broken[1].problems[0].find("web page"), std::string::npos);
  EXPECT_THROW(find_model(folder_ / "none"), Error);
}

TEST_F(VerifyTest, FindsDiffusersFolders) {
  for (const char* part : {"transformer", "vae", "text_encoder", "tokenizer"}) {
    fs::create_directories(folder_ / part);
    std::ofstream(folder_ / part / "config.json") << "{}";
    io::write_safetensors(folder_ / part / "model.safetensors", {});
  }
  std::ofstream(folder_ / "tokenizer" / "spiece.model") << "x";
  const ModelFolder model = find_model(folder_);
  EXPECT_TRUE(model.diffusers);
  EXPECT_TRUE(model.missing.empty());
  EXPECT_EQ(model.open_transformer()->tensors().size(), 0u);
}

}  // namespace
}  // namespace monarch::models
