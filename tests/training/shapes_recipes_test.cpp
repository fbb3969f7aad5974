#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

#include "monarch/base/error.h"
#include "monarch/pipelines/wan_system.h"
#include "monarch/training/checkpoint.h"
#include "monarch/training/recipes/shapes_dit.h"
#include "monarch/training/recipes/text.h"
#include "monarch/training/recipes/tokenizer.h"
#include "monarch/training/shapes_stages.h"
#include "tests/support/message_of.h"

namespace monarch::training {
namespace {

// One tokenizer serves all tests.
class ShapesRecipes : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "monarch_shapes_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    train_tokenizer(spiece(), {.captions = 2000});
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder_); }
  static std::filesystem::path spiece() {
    return folder_ / "google" / "umt5-shapes" / "spiece.model";
  }
  static std::filesystem::path folder_;
};
std::filesystem::path ShapesRecipes::folder_;

TEST_F(ShapesRecipes, TokenizerHasT5sLayoutAndKnowsEveryCaption) {
  const models::Tokenizer tokenizer(spiece(), 40);
  EXPECT_EQ(tokenizer.pad_id(), 0);
  EXPECT_EQ(tokenizer.eos_id(), 1);
  EXPECT_EQ(tokenizer.unk_id(), 2);
  EXPECT_EQ(tokenizer.bos_id(), -1);
  EXPECT_LE(tokenizer.vocab_size(), 320);
  const ShapesDataset data({}, 99);
  for (std::uint64_t i = 0; i < 200; ++i) {
    const auto ids = tokenizer.pieces(data.sample(i).caption);
    EXPECT_LE(ids.size(), 40U) << data.sample(i).caption;
    EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 0) << data.sample(i).caption;
  }
}

TEST_F(ShapesRecipes, TextEncoderLearnsAttributes) {
  models::Umt5Config umt5 = shapes_umt5_config();
  umt5.dim = umt5.dim_attn = 48;
  umt5.dim_ffn = 64;
  umt5.num_heads = 4;
  TextRecipe recipe({.tokenizer = spiece(), .umt5 = umt5, .batch = 32});
  TrainerOptions options;
  options.out = folder_ / "text";
  options.steps = 60;
  options.lr = 3e-3;
  options.warmup = 10;
  options.ema_decay = 0.9;
  options.log_every = 10;
  const double before = recipe.loss(recipe.parameters(), 1000, 0, 1).item<double>();
  train(recipe, options);
  EXPECT_LT(recipe.loss(recipe.parameters(), 1000, 0, 1).item<double>(), 0.9 * before);
  const auto accuracy = recipe.accuracy(recipe.parameters(), ShapesDataset({}, 5), 50);
  EXPECT_EQ(accuracy.size(), 10U);
  EXPECT_TRUE(accuracy.contains("first color"));
}

TEST_F(ShapesRecipes, DenoiserLossIsAFunctionOfTheStepAndReachesEveryParameter) {
  models::Umt5Config umt5 = shapes_umt5_config();
  const models::Tokenizer tokenizer(spiece(), umt5.seq_len);
  umt5.vocab_size = tokenizer.vocab_size();
  const models::Umt5Encoder text(umt5, models::random_parameters(umt5, 1));
  const auto pool = [&](int frames) {
    const int64_t latent_frames = 1 + (frames - 1) / 4;
    return LatentPool(folder_ / ("latents-" + std::to_string(frames) + ".bin"), "random",
                      ShapesDataset({.width = 64, .height = 32, .frames = frames}, 1), 4,
                      {16, latent_frames, 4, 8}, [latent_frames](const ShapesScene&) {
                        return at::randn({16, latent_frames, 4, 8});
                      });
  };
  const LatentPool videos = pool(5), images = pool(1);
  ShapesDitOptions options{.model = shapes_wan_config(), .batch = 4, .image_steps = 1};
  options.model.dim = 32;
  options.model.ffn_dim = 64;
  options.model.num_heads = 2;
  options.model.num_layers = 1;
  options.model.monarch.enable = true;
  const ShapesDitRecipe recipe(options, videos, images, tokenizer, text);
  EXPECT_EQ(recipe.samples(0), 8);  // images: as many latent frames as in four videos
  EXPECT_EQ(recipe.samples(1), 4);
  EXPECT_EQ(recipe.samples(3), 8);  // every third step
  options.image_every = 0;
  EXPECT_EQ(ShapesDitRecipe(options, videos, images, tokenizer, text).samples(3), 4);
  const double loss = recipe.loss(recipe.parameters(), 0, 0, 2).item<double>();
  EXPECT_EQ(loss, recipe.loss(recipe.parameters(), 0, 0, 2).item<double>());
  EXPECT_NEAR(loss, 2.0, 0.5);  // an output of zeros against unit noise and unit latents

  models::TensorMap leaves;
  for (const auto& [name, parameter] : recipe.parameters()) {
    leaves[name] = (parameter + 0.01 * at::randn_like(parameter)).set_requires_grad(true);
  }
  recipe.loss(leaves, 1, 0, 2).backward();
  for (const auto& [name, leaf] : leaves) EXPECT_TRUE(leaf.grad().defined()) << name;

  models::TensorMap vae;
  add_probe(vae, 16, at::detail::createCPUGenerator(1));
  options.image_every = 3;
  options.kind_weight = 2;
  options.probe = find_probe(vae);
  EXPECT_GT(ShapesDitRecipe(options, videos, images, tokenizer, text)
                .loss(recipe.parameters(), 0, 0, 2)
                .item<double>(),
            loss);
}

TEST(KindProbe, ComparesKindsWhereShapesAre) {
  models::TensorMap vae;
  EXPECT_FALSE(find_probe(vae));
  add_probe(vae, 5, at::detail::createCPUGenerator(1));
  EXPECT_TRUE(without_probe(vae).empty());
  vae["kind_probe.weight"] = 6 * at::eye(5).view({5, 5, 1, 1, 1});  // channel k speaks for class k
  const KindProbe probe = find_probe(vae);
  const auto cells = [](std::vector<int64_t> classes) {
    const auto count = static_cast<int64_t>(classes.size());
    return at::one_hot(at::tensor(classes), 5).to(at::kFloat).t().reshape({1, 5, 1, 1, count});
  };
  const at::Tensor level = at::ones({1}), clean = cells({0, 0, 2, 3});
  const auto divergence = [&](const at::Tensor& denoised) {
    return kind_divergence(probe, denoised, clean, level).item<double>();
  };
  EXPECT_NEAR(divergence(clean), 0, 1e-6);
  EXPECT_NEAR(divergence(cells({1, 2, 2, 3})), 0, 0.1);  // a wrong background costs next to nothing
  EXPECT_GT(divergence(cells({0, 0, 2, 2})), 1);
  EXPECT_GT(divergence(cells({0, 0, 0, 3})), 0.3);
  EXPECT_EQ(kind_divergence(probe, cells({0, 0, 3, 2}), clean, 0 * level).item<double>(), 0);

  const std::vector<double> mean{1, -2, 3, 0, 5}, deviation{1, 2, 0.5, 4, 1};
  const at::Tensor shift = at::tensor(mean).div(at::tensor(deviation)).view({1, 5, 1, 1, 1});
  EXPECT_LT((probe.of_normalised(mean, deviation).logits(clean - shift.to(at::kFloat)) -
             probe.logits(clean))
                .abs()
                .max()
                .item<double>(),
            1e-5);
}

TEST_F(ShapesRecipes, StagesSayWhichStageIsMissing) {
  ShapesStageOptions options;
  options.out = folder_ / "empty";
  const std::string text = (options.out / "google" / "umt5-shapes" / "spiece.model").string();
  EXPECT_EQ(message_of([&] { train_text_stage(options); }),
            "[monarch_training] " + text +
                " is missing; run --stage tokenizer with the same --out first, or name a trained "
                "model with --base");
  EXPECT_EQ(message_of([&] { train_dit_stage(options); }),
            "[monarch_training] " + text +
                " is missing; run --stage tokenizer with the same --out first, or name a trained "
                "model with --base");
  options.out = folder_;
  EXPECT_EQ(message_of([&] { train_dit_stage(options); }),
            "[monarch_training] " + (folder_ / "text.state.safetensors").string() +
                " is missing; run --stage text with the same --out first, or name a trained "
                "model with --base");
}

// Every stage for a few steps, and the exported folder opens as any Wan model does.
TEST_F(ShapesRecipes, AFewStepsOfEveryStageMakeAModelFolder) {
  ShapesStageOptions options;
  options.out = folder_ / "run";
  options.steps = 2;
  options.batch = 2;
  train_tokenizer_stage(options);
  train_text_stage(options);
  options.frames = 5;
  options.statistics_videos = 1;
  train_vae_stage(options);
  options.width = 64;
  options.height = 32;
  options.pool = 2;
  train_dit_stage(options);
  export_shapes_model(options, folder_ / "model");
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "model")) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  EXPECT_LT(bytes, 12U << 20);
  pipelines::WanSystem system(folder_ / "model");
  const std::vector<std::string> prompts{"a red circle moving right"};
  EXPECT_EQ(system.encode_text(prompts).sizes().vec(), (std::vector<int64_t>{1, 40, 96}));
  EXPECT_EQ(system.vae()->config().dim, 8);

  // Another denoiser for the same text encoder and VAE.
  options.base = folder_ / "model";
  options.init = options.base;
  options.out = folder_ / "again";
  EXPECT_EQ(train_dit_stage(options).step, 2);
  export_shapes_model(options, folder_ / "other");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "other" / "Wan2.1_VAE.safetensors"));

  options.kind_weight = 0.1;
  EXPECT_EQ(message_of([&] { train_dit_stage(options); }),
            "[monarch_training] kind_weight 0.1 needs a probe, and there is none in " +
                (folder_ / "again" / "vae.state.safetensors").string() +
                "; train --stage vae with --kind-weight and the same --out, or leave it at 0");
  options.out = folder_ / "probed";
  train_vae_stage(options);
  options.init.clear();
  EXPECT_EQ(train_dit_stage(options).step, 2);
}

}  // namespace
}  // namespace monarch::training
