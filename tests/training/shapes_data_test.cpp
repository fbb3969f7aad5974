#include <gtest/gtest.h>

#include <stdlib.h>
#include <cmath>

#include <set>

#include "monarch/base/error.h"
#include "monarch/training/data/latent_pool.h"
#include "monarch/training/data/shapes_dataset.h"
#include "tests/support/message_of.h"

namespace monarch::training {
namespace {

using Combination = std::tuple<ShapeColor, ShapeKind, ShapeMotion>;

std::set<Combination> drawn(ShapesSplit split, int count) {
  const ShapesDataset data({.two_shapes = 0.5F, .split = split}, 3);
  std::set<Combination> combinations;
  for (int i = 0; i < count; ++i) {
    for (const ShapeObject& object : data.sample(static_cast<std::uint64_t>(i)).scene.objects) {
      combinations.insert({object.color, object.kind, object.motion});
    }
  }
  return combinations;
}

TEST(ShapesData, TrainingNeverShowsAHeldOutCombination) {
  const auto trained = drawn(ShapesSplit::kTrain, 20000);
  const auto held_out = drawn(ShapesSplit::kHeldOut, 5000);
  for (const auto& [color, kind, motion] : trained) EXPECT_FALSE(is_held_out(color, kind, motion));
  for (const auto& [color, kind, motion] : held_out) EXPECT_TRUE(is_held_out(color, kind, motion));
  // Together they are all there is, and each value of each attribute is trained.
  EXPECT_EQ(trained.size() + held_out.size(), 256U);
  std::set<ShapeColor> colors;
  std::set<ShapeKind> kinds;
  std::set<ShapeMotion> motions;
  for (const auto& [color, kind, motion] : trained) {
    colors.insert(color);
    kinds.insert(kind);
    motions.insert(motion);
  }
  EXPECT_EQ(colors.size(), 8U);
  EXPECT_EQ(kinds.size(), 4U);
  EXPECT_EQ(motions.size(), 8U);
}

// FNV-1a, so that a changed bit anywhere shows.
std::uint64_t hash_of(const std::vector<std::uint8_t>& bytes) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3ULL;
  return hash;
}

TEST(ShapesData, SameSeedSameBits) {
  const ShapesDataset data({}, 7);
  const ShapesDataset again({}, 7);
  const ShapesDataset other({}, 8);
  EXPECT_EQ(data.sample(5).caption, again.sample(5).caption);
  EXPECT_EQ(render_scene(data.sample(5).scene, 256, 160, 5),
            render_scene(again.sample(5).scene, 256, 160, 5));
  EXPECT_TRUE(
      data.clip(data.sample(5).scene, 3, 2).equal(data.video(data.sample(5).scene).slice(1, 3, 5)));
  EXPECT_NE(hash_of(render_scene(data.sample(5).scene, 256, 160, 5)),
            hash_of(render_scene(other.sample(5).scene, 256, 160, 5)));
}

TEST(ShapesData, VideosHaveTheShapesSizesAndRange) {
  const ShapesDataset data({.width = 64, .height = 48, .frames = 9}, 1);
  const at::Tensor video = data.video(data.sample(0).scene);
  EXPECT_EQ(video.sizes().vec(), (std::vector<int64_t>{3, 9, 48, 64}));
  EXPECT_GE(video.min().item<float>(), -1.0F);
  EXPECT_LE(video.max().item<float>(), 1.0F);
  ShapesRng rng(1);
  const ShapesCrop crop = data.crop(data.sample(0).scene, 32, 5, rng);
  EXPECT_EQ(crop.video.sizes().vec(), (std::vector<int64_t>{3, 5, 32, 32}));
  EXPECT_EQ(crop.kinds.sizes().vec(), (std::vector<int64_t>{2, 4, 4}));
}

TEST(ShapesData, KindsStandWhereTheShapesAre) {
  const ShapesDataset data({.width = 128, .height = 96, .frames = 9, .two_shapes = 0}, 1);
  ShapesRng rng(1);
  int64_t covered = 0;
  for (std::uint64_t i = 0; i < 20; ++i) {
    const ShapesScene scene = data.sample(i).scene;
    const ShapesCrop crop = data.crop(scene, 64, 5, rng);
    const Rgb background = background_rgb(scene.background);
    const at::Tensor plain =
        at::tensor({background[0], background[1], background[2]}, at::kFloat).view({3, 1, 1}) *
            (2.0 / 255) -
        1;
    // The four pixels around each cell's centre in the first frame.
    const at::Tensor centres =
        at::max_pool2d((crop.video.select(1, 0) - plain).abs().slice(1, 3).slice(2, 3), 2, 8)
            .amax(0);
    const at::Tensor kinds = crop.kinds[0];
    const at::Tensor is_covered = kinds > 0;
    EXPECT_TRUE((centres > 0.05).logical_or(is_covered.logical_not()).all().item<bool>());
    const auto kind = 1 + static_cast<int64_t>(scene.objects[0].kind);
    EXPECT_TRUE(kinds.masked_select(is_covered).eq(kind).all().item<bool>());
    covered += is_covered.sum().item<int64_t>();
  }
  EXPECT_GT(covered, 60);
}

TEST(ShapesData, PlainCaptionsReadAsPeopleWriteThem) {
  ShapesScene scene;
  scene.objects.push_back({.color = ShapeColor::kOrange,
                           .kind = ShapeKind::kStar,
                           .motion = ShapeMotion::kGrowing,
                           .size = ShapeSize::kMedium});
  EXPECT_EQ(plain_caption(scene), "an orange star growing");
  scene.objects.push_back({.color = ShapeColor::kGreen,
                           .kind = ShapeKind::kTriangle,
                           .motion = ShapeMotion::kUp,
                           .size = ShapeSize::kSmall});
  scene.background = ShapesBackground::kWhite;
  EXPECT_EQ(plain_caption(scene),
            "an orange star growing and a small green triangle moving up on a white background");
}

TEST(ShapesData, CaptionsVary) {
  const ShapesDataset data({}, 2);
  const ShapesScene scene = data.sample(0).scene;
  std::set<std::string> captions;
  ShapesRng rng(1);
  for (int i = 0; i < 100; ++i) captions.insert(caption_scene(scene, rng));
  EXPECT_GT(captions.size(), 60U);
}

TEST(ShapesData, SaysWhatDoesNotFit) {
  ShapesRng rng(1);
  EXPECT_EQ(message_of([&] { sample_scene({.width = 16, .height = 160, .frames = 21}, rng); }),
            "[monarch_training] shapes need frames of at least 32x32 pixels and at least one of "
            "them, but got 21 of "
            "16x160");
  const ShapesDataset data({.width = 64, .height = 48, .frames = 9}, 1);
  EXPECT_EQ(message_of([&] { data.crop(data.sample(0).scene, 64, 5, rng); }),
            "[monarch_training] a crop of 5 frames of 64x64 does not fit into 9 of 64x48");
}

class LatentPoolTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "monarch_pool_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(LatentPoolTest, EncodesOnceAndRemembers) {
  int calls = 0;
  const ShapesDataset data({.width = 32, .height = 32, .frames = 5}, 1);
  const auto encode = [&](const ShapesScene& scene) {
    ++calls;
    return data.clip(scene, 0, 1).mean({0}, true).slice(2, 0, 2).slice(3, 0, 2);
  };
  const ShapesScene scene = data.sample(1).scene;
  at::Tensor first;
  {
    const LatentPool pool(folder_ / "latents.bin", "test", data, 3, {1, 1, 2, 2}, encode);
    first = pool.latent(1, scene);
    EXPECT_TRUE(pool.latent(1, scene).equal(first));
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(message_of([&] { pool.latent(3, scene); }),
              "[monarch_training] latent 3 of a pool of 3");
  }
  const LatentPool again(folder_ / "latents.bin", "test", data, 3, {1, 1, 2, 2}, encode);
  EXPECT_TRUE(again.latent(1, scene).equal(first));
  EXPECT_EQ(calls, 1);
}

TEST_F(LatentPoolTest, RefusesAFileOfSomethingElse) {
  const ShapesDataset data({.width = 32, .height = 32, .frames = 5}, 1);
  const auto encode = [&](const ShapesScene& scene) { return data.video(scene); };
  const std::filesystem::path file = folder_ / "latents.bin";
  { const LatentPool pool(file, "one", data, 3, {1, 1, 2, 2}, encode); }
  const auto bytes = std::filesystem::file_size(file);
  EXPECT_EQ(message_of([&] {
              const LatentPool pool(file, "two", data, 5000, {1, 1, 2, 2}, encode);
            }),
            "[monarch_training] " + file.string() +
                " holds latents of 'one 3 [1, 1, 2, 2]', not of 'two 5000 [1, 1, 2, 2]'; delete it "
                "or name another folder");
  EXPECT_EQ(std::filesystem::file_size(file), bytes);
}

// A VAE's latents of a shape are then the same wherever it starts.
TEST(ShapesData, ShapesStartOnALatticeOfEightPixelsAndMoveAlongIt) {
  const ShapesOptions options{.width = 192, .height = 128, .two_shapes = 0.0F};
  int still = 0, moving = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    ShapesRng rng(seed);
    const ShapeObject object = sample_scene(options, rng).objects.front();
    if (object.size == ShapeSize::kLarge) continue;  // hardly room for a choice
    EXPECT_EQ(object.start_x, 8 * std::round(object.start_x / 8)) << seed;
    EXPECT_EQ(object.start_y, 8 * std::round(object.start_y / 8)) << seed;
    const float travel = std::abs(object.travel_x + object.travel_y);
    EXPECT_EQ(travel, 40 * std::round(travel / 40)) << seed;  // five latent frames of 8 pixels
    (travel > 0 ? moving : still) += 1;
  }
  EXPECT_GT(still, 50);
  EXPECT_GT(moving, 50);
}

}  // namespace
}  // namespace monarch::training
