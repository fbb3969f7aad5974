#include "tests/apps/tiny_model.h"

#include <gtest/gtest.h>

#include "tests/apps/run_binary.h"

namespace monarch::testing {

const std::string& tiny_model() {
  static const TemporaryFolder folder;
  static const std::string path = [] {
    const std::string model = folder / "tiny";
    const RunResult made = run_monarch(
        "init '" + model + "' --preset tiny --tokenizer tests/fixtures/wan/tokenizer_unk.model");
    EXPECT_EQ(made.exit_code, 0) << made.output;
    return model;
  }();
  return path;
}

std::string tiny_distillation(const std::string& prompts) {
  const std::string& model = tiny_model();
  return "trainer: score_distillation\nreal_name: " + model + "\nfake_name: " + model +
         "\ndata_path: " + prompts + "\nmodel_kwargs: {timestep_shift: 5.0, model_name: " + model +
         "}\ndenoising_step_list: [1000, 500]\nwarp_denoising_step: true\n"
         "num_frame_per_block: 3\nloss_frames: 6\ntimestep_shift: 5.0\nmixed_precision: false\n"
         "image_or_video_shape: [1, 6, 16, 4, 4]\nbatch_size: 2\nseed: 7\n"
         "negative_prompt: bad\nmonarch_args: {enable: true}\n";
}

}  // namespace monarch::testing
