// Tests that run a tiny model from its folder.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "monarch/pipelines/generate.h"
#include "tests/pipelines/tiny_system.h"

namespace monarch::pipelines {

// Keeps what it is given.
class Counter : public FrameSink {
 public:
  bool write(const at::Tensor& frames, std::int64_t /*first_frame*/) override {
    all.push_back(frames);
    return static_cast<int>(all.size()) != stop_after;
  }
  at::Tensor video() const { return at::cat(all, 2); }
  std::vector<at::Tensor> all;
  int stop_after = -1;
};

// A folder with a tiny model, for all tests of a suite.
class TinySystem : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new std::filesystem::path(fresh_folder("system"));
    write_tiny_system(*folder_);
  }
  static void TearDownTestSuite() {
    std::filesystem::remove_all(*folder_);
    delete folder_;
  }

  // 9 latent frames of 4 x 4
  static GenerationOptions options(GenerationMode mode) {
    GenerationOptions options;
    options.width = options.height = 32;
    options.num_frames = 21;
    options.sampling_steps = 3;
    options.num_frame_per_block = 2;
    options.negative_prompt = "blurred";
    options.causal =
        mode == GenerationMode::kCausalDiffusion || mode == GenerationMode::kSelfForcing;
    if (mode == GenerationMode::kFewStep || mode == GenerationMode::kSelfForcing) {
      options.denoising_step_list = {1000, 750, 500};
      options.warp_denoising_step = true;
    }
    return options;
  }

  inline static std::filesystem::path* folder_ = nullptr;
};

}  // namespace monarch::pipelines
