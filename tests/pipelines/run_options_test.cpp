#include "monarch/pipelines/run_options.h"

#include <gtest/gtest.h>

#include <fstream>

#include "monarch/base/error.h"
#include "tests/pipelines/tiny_system.h"

namespace monarch::pipelines {
namespace {

namespace fs = std::filesystem;

GenerationOptions applied(const Json& settings) {
  GenerationOptions options;
  options.apply(settings, "settings");
  return options;
}

// Every key with a value that is not the default.
const Json kSelfForcing = Json::parse(R"json({
    "width": 64, "height": 48, "num_frames": 21, "fps": 12, "causal": true,
    "denoising_step_list": [1000, 500], "warp_denoising_step": true, "num_frame_per_block": 3,
    "independent_first_frame": true, "context_noise": 100,
    "model_kwargs": {"timestep_shift": 4, "local_attn_size": 9, "sink_size": 3,
                     "relative_sink": true},
    "monarch_args": {"enable": true, "num_iters": 2, "f_tied": 3, "h_reduce": 2, "w_reduce": 4},
    "attention": [
        {"preset": "dense", "layers": ["0-4", "7"]},
        {"preset": "monarchrt", "num_iters": 1, "f_tied": 1, "h_reduce": 1, "w_reduce": 2,
         "heads": ["1"], "steps": ["2-3"], "chunks": ["0"]},
        {"preset": "vmonarch", "num_iters": 3, "c_r_min": 0.5, "recompute_first_frame": false,
         "frames_per_factor": 2, "split": "fh,w", "layers": ["9"]}]})json");

TEST(SettingsOf, AreWhatApplyReads) {
  EXPECT_EQ(settings_of(applied(kSelfForcing)), kSelfForcing);
  const Json whole = Json::parse(R"json({
      "width": 64, "height": 48, "num_frames": 9, "fps": 16, "causal": false, "model_kwargs": {},
      "negative_prompt": "bad", "guidance_scale": 3, "sample_solver": "euler",
      "sampling_steps": 7, "sample_shift": 2, "monarch_args": {"enable": false},
      "vmonarch_args": {"num_iters": 1, "c_r_min": 0.2, "recompute_first_frame": true,
                        "frames_per_factor": 3, "split": "f,hw"},
      "attention": []})json");
  EXPECT_EQ(settings_of(applied(whole)), whole);
}

TEST(RunOptions, TakeTheFileOverItsDefaultsOverTheFolder) {
  const fs::path folder = fresh_folder("run_options");
  write_tiny_system(folder);
  std::ofstream(folder / "generate.yaml") << "{fps: 7, width: 64, height: 64}\n";
  EXPECT_EQ(run_options(folder, {}).frames_per_second, 7);
  const fs::path configs = fresh_folder("run_configs");
  fs::create_directories(configs);
  std::ofstream(configs / "default_config.yaml") << "{width: 32, height: 32, causal: true}\n";
  std::ofstream(configs / "my.yaml") << "{width: 48, trainer: score_distillation}\n";
  const GenerationOptions options = run_options(folder, configs / "my.yaml");
  EXPECT_EQ(options.frames_per_second, 7);
  EXPECT_EQ(options.width, 48);
  EXPECT_EQ(options.height, 32);
  EXPECT_TRUE(options.causal);
  fs::remove_all(folder);
  fs::remove_all(configs);
}

TEST(NamedModel, SaysWhereItLooked) {
  const fs::path folder = fresh_folder("named_model");
  fs::create_directories(folder);
  EXPECT_EQ(named_model(folder.string()), folder);
  fs::remove_all(folder);
  EXPECT_EQ(message_of([] { named_model("nothing"); }),
            "[monarch_pipelines] there is no model 'nothing': neither wan_models/nothing nor "
            "nothing is a folder; download it, or name another in the configuration");
}

}  // namespace
}  // namespace monarch::pipelines
