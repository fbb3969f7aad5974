#include "monarch/pipelines/generation_options.h"

#include <gtest/gtest.h>

#include <cmath>

#include "monarch/base/error.h"

namespace monarch::pipelines {
namespace {

std::string validation_message(const GenerationOptions& options) {
  try {
    options.validate();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "valid";
}

GenerationOptions small() {
  GenerationOptions options;
  options.width = 256;
  options.height = 160;
  options.num_frames = 21;
  return options;
}

TEST(GenerationOptions, DefaultsAreValid) {
  EXPECT_EQ(validation_message(GenerationOptions()), "valid");
}

TEST(GenerationOptions, TwoKeysDecideTheMode) {
  GenerationOptions options;
  EXPECT_EQ(options.mode(), GenerationMode::kDiffusion);
  options.denoising_step_list = {1000, 500};
  EXPECT_EQ(options.mode(), GenerationMode::kFewStep);
  options.causal = true;
  EXPECT_EQ(options.mode(), GenerationMode::kSelfForcing);
  options.denoising_step_list.clear();
  EXPECT_EQ(options.mode(), GenerationMode::kCausalDiffusion);
}

TEST(GenerationOptions, ReadsTheOriginalsKeys) {
  GenerationOptions options;
  options.apply(
      Json::parse(
          R"({"causal": true, "denoising_step_list": [1000, 750, 500, 250], "warp_denoising_step": true,
    "num_frame_per_block": 3, "timestep_shift": 5.0, "model_kwargs": {"timestep_shift": 5.0, "local_attn_size": 6},
    "monarch_args": {"enable": true, "f_tied": 3}, "lr": 2.0e-06, "wandb_key": "WANDB_KEY", "trainer": "score_distillation"})"),
      "recipe.yaml");
  EXPECT_EQ(options.mode(), GenerationMode::kSelfForcing);
  EXPECT_EQ(options.attention, AttentionPreset::kMonarchRt);
  EXPECT_EQ(options.monarch.f_tied, 3);
  EXPECT_EQ(options.local_attn_size, 6);
  EXPECT_DOUBLE_EQ(options.timestep_shift, 5.0);
  EXPECT_DOUBLE_EQ(options.sample_shift, 5.0);
  options.apply(Json::parse(R"({"monarch_args": {"enable": false}})"), "other.yaml");
  EXPECT_EQ(options.attention, AttentionPreset::kDense);
}

TEST(GenerationOptions, AttentionRulesMustFitToo) {
  GenerationOptions options = small();
  options.apply(
      Json::parse(R"({"attention": [{"preset": "monarchrt", "layers": 2, "w_reduce": 3}]})"),
      "my.yaml");
  EXPECT_EQ(validation_message(options),
            "[monarch_ops] token width 16 is not divisible by w_reduce 3; use 1, 2, 4, 8 or 16");
  options.apply(
      Json::parse(R"({"attention": {"preset": "vmonarch", "layers": 2}, "causal": true})"),
      "my.yaml");
  options.num_frame_per_block = 3;
  EXPECT_EQ(
      validation_message(options),
      "[generate] vmonarch factorises the whole video at once and cannot run with a KV cache; "
      "use --attention monarchrt or dense with causal models");
}

TEST(GenerationOptions, UnknownKeysNameTheNearest) {
  GenerationOptions options;
  try {
    options.apply(Json::parse(R"({"sampling_step": 4})"), "my.yaml");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[config] unknown key 'sampling_step' in my.yaml; did you mean 'sampling_steps'?");
  }
}

TEST(GenerationOptions, MessagesSayWhatWouldFit) {
  GenerationOptions options = small();
  options.width = 250;
  EXPECT_EQ(validation_message(options),
            "[generate] width 250 is not a positive multiple of 16; use 240 or 256");
  options = small();
  options.height = 8;
  EXPECT_EQ(validation_message(options),
            "[generate] height 8 is not a positive multiple of 16; use 16");
  options = small();
  options.num_frames = 20;
  EXPECT_EQ(validation_message(options),
            "[generate] 20 frames are not 1 more than a multiple of 4; use 17 or 21");
  options = small();
  options.attention = AttentionPreset::kMonarchRt;
  options.monarch.h_reduce = 4;
  EXPECT_EQ(validation_message(options),
            "[monarch_ops] token height 10 is not divisible by h_reduce 4; use 1, 2, 5 or 10");
  options.monarch.h_reduce = 1;
  options.monarch.f_tied = 4;
  EXPECT_EQ(
      validation_message(options),
      "[generate] the number of latent frames 6 is not divisible by f_tied 4; use 1, 2, 3 or 6");
}

TEST(GenerationOptions, NumbersOutOfRangeAreRefused) {
  const auto message_with = [](auto change) {
    GenerationOptions options = small();
    options.causal = true;
    change(options);
    return validation_message(options);
  };
  EXPECT_EQ(message_with([](auto& o) { o.num_frame_per_block = 0; }),
            "[generate] num_frame_per_block is 0; it must be at least 1 (3 is usual)");
  EXPECT_EQ(message_with([](auto& o) { o.num_frames = 4'000'000'001; }),
            "[generate] 4000000001 frames of 256x160 are too many; up to 1000001 frames with sides "
            "up to 16384 can be made");
  EXPECT_EQ(message_with([](auto& o) { o.sample_shift = 0; }),
            "[generate] sample_shift is 0; a positive number was expected (5 or 8 are usual)");
  EXPECT_EQ(
      message_with([](auto& o) { o.guidance_scale = std::nan(""); }),
      "[generate] the guidance scale is nan; a number was expected (1 switches guidance off)");
  EXPECT_EQ(message_with([](auto& o) { o.context_noise = -1; }),
            "[generate] context_noise is -1; a timestep of 0 to 1000 was expected");
  EXPECT_EQ(
      message_with([](auto& o) { o.local_attn_size = 0; }),
      "[generate] local_attn_size is 0; -1 (all frames) or at least num_frame_per_block 1 was "
      "expected");
  EXPECT_EQ(message_with([](auto& o) { o.sink_size = -2; }),
            "[generate] sink_size is -2; it cannot be negative");
}

TEST(GenerationOptions, CausalModelsNeedWholeChunks) {
  GenerationOptions options = small();
  options.causal = true;
  options.num_frame_per_block = 4;
  EXPECT_EQ(
      validation_message(options),
      "[generate] 6 latent frames (21 frames) do not divide into chunks of 4; use 13 or 29 frames");
  options.num_frame_per_block = 7;
  EXPECT_EQ(validation_message(options),
            "[generate] 6 latent frames (21 frames) do not divide into chunks of 7; use 25 frames");
  options.num_frame_per_block = 3;
  EXPECT_EQ(validation_message(options), "valid");
  options.independent_first_frame = true;
  EXPECT_EQ(validation_message(options),
            "[generate] 6 latent frames (21 frames) do not divide into one frame and chunks of 3; "
            "use 13 or 25 frames");
  options.independent_first_frame = false;
  options.attention = AttentionPreset::kVMonarch;
  EXPECT_EQ(validation_message(options),
            "[generate] vmonarch factorises the whole video at once and cannot run with a KV "
            "cache; use --attention "
            "monarchrt or dense with causal models");
}

TEST(GenerationOptions, PresetsAreNamed) {
  EXPECT_EQ(parse_attention_preset("vmonarch"), AttentionPreset::kVMonarch);
  EXPECT_THROW(parse_attention_preset("sparse"), Error);
}

}  // namespace
}  // namespace monarch::pipelines
