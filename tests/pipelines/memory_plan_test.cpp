#include "monarch/pipelines/memory_plan.h"

#include "tests/pipelines/tiny_system_fixture.h"

namespace monarch::pipelines {
namespace {

using Text = Residency::Text;
using Transformer = Residency::Transformer;

constexpr double kGiB = 1 << 30;

// A text encoder of 11, a transformer of 30 layers and 3, a VAE of 1.
const DeviceBytes kBytes{.text_encoder = 11 * kGiB,
                         .text_work = 1 * kGiB,
                         .outside_layers = 0.3 * kGiB,
                         .layer = 0.09 * kGiB,
                         .num_layers = 30,
                         .denoise_work = 4 * kGiB,
                         .vae = 1 * kGiB,
                         .decode_work = 2 * kGiB};

Residency planned(Course course, double gib) { return plan_memory(kBytes, course, gib * kGiB); }

TEST(MemoryPlan, TakesTheFastestThatFits) {
  const Residency all{};
  EXPECT_NEAR(peak_bytes(kBytes, Course::kStages, all), 19 * kGiB, 1);
  EXPECT_EQ(planned(Course::kStages, 19.01), all);
  // The text encoder cannot stay, but comes while the others are there: 11 + 1 + 3 + 1.
  EXPECT_EQ(planned(Course::kStages, 18.9), (Residency{.text = Text::kFreed}));
  EXPECT_EQ(planned(Course::kStages, 16.01), (Residency{.text = Text::kFreed}));
  // It does not come at all: 3 + 4 + 1.
  EXPECT_EQ(planned(Course::kStages, 15.9), (Residency{.text = Text::kOnHost}));
  EXPECT_EQ(planned(Course::kStages, 8.01), (Residency{.text = Text::kOnHost}));
  // Each for its stage: 3 + 4.
  EXPECT_EQ(
      planned(Course::kStages, 7.9),
      (Residency{.text = Text::kOnHost, .transformer = Transformer::kFreed, .keep_vae = false}));
  // Two layers at a time: 0.3 + 0.18 + 4.
  EXPECT_EQ(
      planned(Course::kStages, 6.9),
      (Residency{.text = Text::kOnHost, .transformer = Transformer::kStreamed, .keep_vae = false}));
  EXPECT_NO_THROW(planned(Course::kStages, 4.5));
}

TEST(MemoryPlan, ALargeTransformerLeavesNoRoomForTheText) {
  DeviceBytes large = kBytes;  // of 14B: 28
  large.layer = 0.92 * kGiB;
  EXPECT_EQ(plan_memory(large, Course::kStages, 33 * kGiB), (Residency{.text = Text::kOnHost}));
  EXPECT_EQ(plan_memory(large, Course::kStages, 24 * kGiB),
            (Residency{.transformer = Transformer::kStreamed, .keep_vae = false}));
}

TEST(MemoryPlan, WhatRunsTogetherIsAddedUp) {
  // Chunks: 3 + 4 + 1 + 2, and with the text encoder 11 more.
  EXPECT_NEAR(peak_bytes(kBytes, Course::kChunks, {}), 21 * kGiB, 1);
  EXPECT_NEAR(peak_bytes(kBytes, Course::kChunks, {.text = Text::kOnHost}), 10 * kGiB, 1);
  // Live: prompts come at any time, so freeing helps nobody.
  EXPECT_NEAR(peak_bytes(kBytes, Course::kLive, {}), 22 * kGiB, 1);
  EXPECT_NEAR(peak_bytes(kBytes, Course::kLive, {.text = Text::kFreed}), 22 * kGiB, 1);
  EXPECT_EQ(planned(Course::kLive, 21.9), (Residency{.text = Text::kOnHost}));
  EXPECT_EQ(
      planned(Course::kLive, 9.9),
      (Residency{.text = Text::kOnHost, .transformer = Transformer::kStreamed, .keep_vae = false}));
}

TEST(MemoryPlan, EveryPlanKeepsToItsBudget) {
  for (const Course course : {Course::kStages, Course::kChunks, Course::kLive}) {
    double before = 0;
    for (double gib = 8; gib < 24; gib += 0.25) {
      const double peak = peak_bytes(kBytes, course, planned(course, gib));
      EXPECT_LE(peak, gib * kGiB);
      EXPECT_GT(peak, 0);
      before = peak;
    }
    EXPECT_EQ(before, peak_bytes(kBytes, course, {}));
  }
}

TEST(MemoryPlan, SaysWhatIsMissingAndWhatItCosts) {
  EXPECT_EQ(
      message_of([] { planned(Course::kStages, 4); }),
      "[monarch_pipelines] a budget of 4.0 GiB on the device is too little: even with the text "
      "encoder on the CPU and the transformer's layers streamed from the host's memory, denoising "
      "needs about 4.5 GiB, 4.0 GiB of it for the video itself; give more (--vram), or take a "
      "smaller --size or fewer --frames");
  EXPECT_EQ(describe({.text = Text::kFreed, .transformer = Transformer::kStreamed}, kBytes,
                     Course::kStages),
            "text encoder freed after use; transformer streamed layer by layer, 2.7 GiB from the "
            "host's memory in every pass; VAE kept; about 13.5 GiB at once");
}

TEST_F(TinySystem, BytesOnADevice) {
  const WanSystem system(*folder_);
  const WanSystem narrow(*folder_, {.dtype = at::kBFloat16});
  const GenerationOptions whole = options(GenerationMode::kDiffusion);
  const DeviceBytes bytes = device_bytes(system, whole, 1);
  std::int64_t elements = 0;
  for (const auto& [name, tensor] : tiny_weights(tiny_config())) elements += tensor.numel();
  EXPECT_DOUBLE_EQ(bytes.transformer(), 4.0 * static_cast<double>(elements));
  EXPECT_EQ(bytes.num_layers, tiny_config().num_layers);
  EXPECT_GT(bytes.text_encoder, 0);
  const DeviceBytes half = device_bytes(narrow, whole, 1);
  EXPECT_DOUBLE_EQ(half.transformer(), bytes.transformer() / 2);
  EXPECT_EQ(half.text_encoder, bytes.text_encoder);  // as it lies in its file
  EXPECT_DOUBLE_EQ(device_bytes(system, whole, 3).denoise_work, 3 * bytes.denoise_work);
  // A causal model has a cache of keys and values, two with guidance.
  const DeviceBytes few = device_bytes(system, options(GenerationMode::kSelfForcing), 1);
  const DeviceBytes guided = device_bytes(system, options(GenerationMode::kCausalDiffusion), 1);
  const double cache = 2.0 * 4 * 6 * 4 * static_cast<double>(tiny_config().dim) *
                       static_cast<double>(tiny_config().num_layers);  // 6 frames of 2 x 2 tokens
  EXPECT_DOUBLE_EQ(guided.denoise_work - few.denoise_work, cache);
}

}  // namespace
}  // namespace monarch::pipelines
