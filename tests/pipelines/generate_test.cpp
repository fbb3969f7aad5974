#include "monarch/pipelines/generate.h"

#include "monarch/ops/usage.h"
#include "monarch/pipelines/run_config.h"
#include "tests/pipelines/tiny_system_fixture.h"

namespace monarch::pipelines {
namespace {

class EveryMode : public TinySystem, public testing::WithParamInterface<GenerationMode> {};

TEST_P(EveryMode, GoesFromPromptToFrames) {
  WanSystem system(*folder_);
  const GenerationOptions settings = options(GetParam());
  Counter sink;
  const GenerationResult result =
      generate_video(system, settings, {.prompt = "a red circle", .seed = 4}, &sink);
  EXPECT_EQ(result.latents.sizes(), (std::vector<int64_t>{1, 4, 6, 4, 4}));
  EXPECT_EQ(result.num_frames, 21);
  EXPECT_EQ(sink.video().sizes(), (std::vector<int64_t>{1, 3, 21, 32, 32}));
  EXPECT_TRUE(sink.video().isfinite().all().item<bool>());

  // Same seed, same bits, whether networks are kept or not.
  WanSystem frugal(*folder_, {.low_memory = true});
  Counter again;
  const GenerationResult second =
      generate_video(frugal, settings, {.prompt = "a red circle", .seed = 4}, &again);
  EXPECT_TRUE(at::equal(result.latents, second.latents));
  EXPECT_TRUE(at::equal(sink.video(), again.video()));

  WanSystem streamed(*folder_);
  streamed.set_residency({.text = Residency::Text::kOnHost,
                          .transformer = Residency::Transformer::kStreamed,
                          .keep_vae = false});
  EXPECT_TRUE(
      at::equal(result.latents,
                generate_video(streamed, settings,
                               {.prompt = "a red circle", .seed = 4, .decode = false}, nullptr)
                    .latents));

  const at::Tensor other_seed =
      generate_video(system, settings, {.prompt = "a red circle", .seed = 5, .decode = false},
                     nullptr)
          .latents;
  EXPECT_FALSE(at::equal(result.latents, other_seed));
  const at::Tensor other_prompt =
      generate_video(system, settings, {.prompt = "two dogs", .seed = 4, .decode = false}, nullptr)
          .latents;
  EXPECT_FALSE(at::equal(result.latents, other_prompt));
}

TEST_P(EveryMode, AttentionRulesChooseByStep) {
  WanSystem system(*folder_);
  GenerationOptions settings = options(GetParam());
  settings.attention_rules = models::attention_rules_from_json(
      Json::parse(R"([{"preset": "monarchrt", "steps": 1}])"), "attention");
  ops::reset_attention_runs();
  generate_video(system, settings, {.prompt = "a red circle", .seed = 4}, nullptr);
  std::int64_t monarch_runs = 0;
  for (const ops::AttentionRuns& runs : ops::attention_runs())
    if (runs.op == "monarchrt") monarch_runs += runs.count;
  const bool guided = settings.denoising_step_list.empty();
  const std::int64_t chunks = settings.causal ? 3 : 1;
  EXPECT_EQ(monarch_runs, system.transformer_config().num_layers * (guided ? 2 : 1) * chunks);
}

INSTANTIATE_TEST_SUITE_P(Modes, EveryMode,
                         testing::Values(GenerationMode::kDiffusion, GenerationMode::kFewStep,
                                         GenerationMode::kCausalDiffusion,
                                         GenerationMode::kSelfForcing));

// What is counted while chunks are made is what the settings promise.
TEST_F(TinySystem, CountsItsSparsity) {
  WanSystem system(*folder_);
  GenerationOptions settings = options(GenerationMode::kSelfForcing);
  const auto sparsity = [&] {
    ops::reset_attention_runs();
    generate_video(system, settings, {.prompt = "x", .decode = false}, nullptr);
    return ops::self_attention_maps(ops::attention_runs()).sparsity();
  };
  EXPECT_EQ(sparsity(), 0);
  settings.attention = AttentionPreset::kMonarchRt;
  settings.monarch.f_tied = 2;
  const double promised = monarch_sparsity(settings.monarch, {6, 2, 2});
  EXPECT_DOUBLE_EQ(promised, 1 - 1.0 / 4 - 1.0 / 2);
  EXPECT_NEAR(sparsity(), promised, 1e-12);
  settings.attention_rules = models::attention_rules_from_json(
      Json::parse(R"([{"preset": "dense", "layers": 0}])"), "attention");
  EXPECT_NEAR(sparsity(), promised / 2, 1e-12);  // one of two layers
}

TEST_F(TinySystem, MonarchAttentionRuns) {
  WanSystem system(*folder_);
  GenerationOptions settings = options(GenerationMode::kSelfForcing);
  const at::Tensor dense =
      generate_video(system, settings, {.prompt = "x", .decode = false}, nullptr).latents;
  settings.attention = AttentionPreset::kMonarchRt;
  const at::Tensor monarch =
      generate_video(system, settings, {.prompt = "x", .decode = false}, nullptr).latents;
  EXPECT_EQ(monarch.sizes(), dense.sizes());
  EXPECT_FALSE(at::equal(monarch, dense));
}

TEST_F(TinySystem, BFloat16StaysNearFloat32) {
  WanSystem wide(*folder_);
  WanSystem narrow(*folder_, {.dtype = at::kBFloat16});
  const GenerationOptions settings = options(GenerationMode::kSelfForcing);
  const at::Tensor a =
      generate_video(wide, settings, {.prompt = "x", .decode = false}, nullptr).latents;
  const at::Tensor b =
      generate_video(narrow, settings, {.prompt = "x", .decode = false}, nullptr).latents;
  EXPECT_EQ(b.scalar_type(), at::kBFloat16);
  EXPECT_LT(((a - b).norm() / a.norm()).item<float>(), 0.1);
}

TEST_F(TinySystem, StartsFromAnImageOrAVideo) {
  WanSystem system(*folder_);
  GenerationOptions settings = options(GenerationMode::kSelfForcing);
  settings.independent_first_frame = true;
  settings.num_frames = 17;  // 1 + 2 * 2 latent frames
  Counter sink;
  GenerationResult result = generate_video(
      system, settings, {.prompt = "x", .initial_video = at::zeros({1, 3, 1, 32, 32})}, &sink);
  EXPECT_EQ(result.latents.size(2), 5);
  EXPECT_EQ(result.num_frames, 17);
  const at::Tensor image = system.vae()->encode(at::zeros({1, 3, 1, 32, 32}));
  EXPECT_TRUE(at::equal(result.latents.narrow(2, 0, 1), image));

  settings = options(GenerationMode::kCausalDiffusion);
  result = generate_video(system, settings,
                          {.prompt = "x", .initial_video = at::zeros({1, 3, 5, 32, 32})}, nullptr);
  EXPECT_EQ(result.latents.size(2), 6);

  EXPECT_EQ(message_of([&] {
              generate_video(system, settings,
                             {.prompt = "x", .initial_video = at::zeros({1, 3, 1, 32, 32})},
                             nullptr);
            }),
            "[monarch_pipelines] the beginning has 1 latent frames, less than a chunk of 2; give "
            "at least 5 frames, or set "
            "independent_first_frame for a model that starts from an image");
  EXPECT_EQ(message_of([&] {
              generate_video(system, settings,
                             {.prompt = "x", .initial_video = at::zeros({1, 3, 1, 32, 16})},
                             nullptr);
            }),
            "[monarch_pipelines] the first image or video has shape [1, 3, 1, 32, 16]; [1, 3, "
            "frames, 32, 32] was expected");
  EXPECT_EQ(message_of([&] {
              generate_video(system, settings,
                             {.prompt = "x", .initial_video = at::zeros({1, 3, 21, 32, 32})},
                             nullptr);
            }),
            "[monarch_pipelines] the beginning fills all 21 frames; ask for more");
  settings = options(GenerationMode::kDiffusion);
  EXPECT_EQ(message_of([&] {
              generate_video(system, settings,
                             {.prompt = "x", .initial_video = at::zeros({1, 3, 1, 32, 32})},
                             nullptr);
            }),
            "[monarch_pipelines] a first image or a video to extend needs a causal model; this "
            "configuration is for "
            "bidirectional diffusion");
}

TEST_F(TinySystem, TheReceiverMayStop) {
  WanSystem system(*folder_);
  for (const auto mode : {GenerationMode::kSelfForcing, GenerationMode::kCausalDiffusion}) {
    Counter sink;
    sink.stop_after = 1;
    const GenerationResult result = generate_video(system, options(mode), {.prompt = "x"}, &sink);
    EXPECT_EQ(result.num_frames, 5);  // the first chunk of two latent frames
    EXPECT_EQ(result.latents.size(2), 2);
  }
}

TEST_F(TinySystem, VMonarchRunsOnWholeVideos) {
  WanSystem system(*folder_);
  GenerationOptions settings = options(GenerationMode::kDiffusion);
  settings.attention = AttentionPreset::kVMonarch;
  const at::Tensor latents =
      generate_video(system, settings, {.prompt = "x", .decode = false}, nullptr).latents;
  EXPECT_TRUE(latents.isfinite().all().item<bool>());
}

}  // namespace
}  // namespace monarch::pipelines
