#include "monarch/training/train_config.h"
#include "monarch/training/stage_config.h"

#include <gtest/gtest.h>

#include "monarch/io/yaml.h"
#include "tests/support/message_of.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;

const Json& example() {
  static const Json config = Json::parse(R"({"trainer": "score_distillation", "causal": true,
    "denoising_step_list": [1000, 750, 500, 250], "warp_denoising_step": true, "lr": 2e-6,
    "lr_critic": 4e-7, "beta1": 0.0, "data_path": "prompts.txt", "num_frame_per_block": 3,
    "timestep_shift": 5.0, "model_kwargs": {"timestep_shift": 5.0}, "guidance_scale": 3.0,
    "monarch_args": {"enable": true}, "image_or_video_shape": [1, 21, 16, 60, 104]})");
  return config;
}

TEST(TrainConfig, ReadsWhatTheRecipesNeed) {
  const TrainConfig config = train_config_from_json(example(), "x.yaml");
  EXPECT_TRUE(config.distils);
  EXPECT_TRUE(config.monarch.enable);
  EXPECT_EQ(config.distillation.simulation.timesteps.size(), 4U);
  EXPECT_NEAR(config.distillation.simulation.timesteps[1], 937.5, 1e-3);
  EXPECT_EQ(config.distillation.critic.lr, 4e-7);
  EXPECT_EQ(config.distillation.generator.max_grad_norm, 10);
  EXPECT_TRUE(config.distillation.score_noise.ts_schedule);  // the default without the key
  EXPECT_EQ(config.distillation.guidance.real, 3);
  EXPECT_FALSE(config.score_monarch.enable);  // as the originals'
  Json own = example();
  own["score_monarch_args"] = {{"enable", true}, {"f_tied", 3}};
  EXPECT_EQ(train_config_from_json(own, "x.yaml").score_monarch.f_tied, 3);
  EXPECT_EQ(train_config_from_json(own, "x.yaml").monarch.f_tied, 1);
  own["model_kwargs"].update({{"local_attn_size", 9}, {"sink_size", 3}, {"relative_sink", true}});
  const TrainConfig streaming = train_config_from_json(own, "x.yaml");
  EXPECT_EQ(streaming.local_attn_size, 9);
  EXPECT_EQ(streaming.sink_size, 3);
  EXPECT_TRUE(streaming.relative_sink);
}

TEST(TrainConfig, EveryRecipeFileIsUnderstood) {
  int files = 0;
  const fs::path configs = fs::path(MONARCH_SOURCE_DIR) / "configs";
  for (const auto& entry : fs::recursive_directory_iterator(configs)) {
    if (entry.is_directory() || entry.path().filename() == "default_config.yaml") continue;
    if (io::read_yaml(entry.path()).contains("entries")) continue;  // a suite of evaluate
    ++files;
    if (is_stage_config(entry.path())) {
      const std::string stage = load_stage_config(entry.path()).stage;  // vae of vae_decoder.yaml
      EXPECT_TRUE(entry.path().stem().string().starts_with(stage)) << entry.path();
      continue;
    }
    const TrainConfig config = load_train_config(entry.path(), configs / "default_config.yaml");
    EXPECT_EQ(config.name, entry.path().stem());
  }
  EXPECT_GE(files, 19);
}

TEST(StageConfig, ReadsAndSaysWhatIsWrong) {
  const Json example = {{"trainer", "shapes"}, {"stage", "vae"},  {"logdir", "runs/x"},
                        {"batch_size", 3},     {"num_frames", 9}, {"lr", 0.5}};
  const StageConfig config = stage_config_from_json(example, "vae.yaml");
  EXPECT_EQ(config.stage, "vae");
  EXPECT_EQ(config.options.out, "runs/x");
  EXPECT_EQ(config.options.batch, 3);
  EXPECT_EQ(config.options.frames, 9);
  EXPECT_EQ(config.options.lr, 0.5);
  const auto with = [&](const char* key, const Json& value) {
    Json changed = example;
    changed[key] = value;
    return message_of([&] { stage_config_from_json(changed, "vae.yaml"); });
  };
  EXPECT_NE(with("batch_sise", 3)
                .find("unknown key 'batch_sise' in vae.yaml; did you mean "
                      "'batch_size'"),
            std::string::npos);
  EXPECT_EQ(with("stage", "vea"),
            "[train] the stage is 'vea'; use tokenizer, text, vae, dit or export");
  EXPECT_EQ(with("num_frames", 20), "[train] 20 frames; 1 + 4n (21, say) were expected");
  EXPECT_EQ(with("width", 100),
            "[train] videos of 100x160 pixels; multiples of 16 (256x160, say) were expected");
  EXPECT_EQ(with("kind_weight", -1),
            "[train] kind_weight -1 and kind_noise 1; 0 or more was expected of both");
}

TEST(TrainConfig, SaysWhatIsWrong) {
  const auto with = [](const char* key, const Json& value) {
    Json changed = example();
    changed[key] = value;
    return message_of([&] { train_config_from_json(changed, "x.yaml"); });
  };
  EXPECT_NE(
      with("lr_citric", 1).find("unknown key 'lr_citric' in x.yaml; did you mean 'lr_critic'"),
      std::string::npos)
      << with("lr_citric", 1);
  EXPECT_EQ(with("trainer", "ode"),
            "[config] x.yaml: trainer is 'ode'; use diffusion or score_distillation");
  EXPECT_EQ(with("distribution_loss", "sid"),
            "[config] x.yaml: distribution_loss is 'sid'; only dmd is supported");
  EXPECT_EQ(with("data_path", Json()),
            "[config] x.yaml has no data_path; name a file of prompts, or an LMDB of latents");
  EXPECT_EQ(
      with("real_guidance_scale", 2),
      "[config] x.yaml has real_guidance_scale without fake_guidance_scale; give both or none");
}

}  // namespace
}  // namespace monarch::training
