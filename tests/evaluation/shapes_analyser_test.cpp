#include "monarch/evaluation/shapes_analyser.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "monarch/training/data/shapes_scene.h"

namespace monarch::evaluation {
namespace {

struct Shares {
  int shapes = 0, color = 0, kind = 0, motion = 0;
};

// Analyses generated truth; `shift` compares each video with the claims of another one.
Shares measure(float two_shapes, int count, int shift = 0, int noise = 0) {
  const training::ShapesOptions options{.two_shapes = two_shapes};
  training::ShapesRng rng(5);
  std::vector<ShapesAnalysis> analyses;
  std::vector<std::vector<ShapeClaim>> claims;
  for (int i = 0; i < count; ++i) {
    const auto scene = training::sample_scene(options, rng);
    auto pixels = training::render_scene(scene, options.width, options.height, options.frames);
    for (std::uint8_t& value : pixels) {
      if (noise > 0)
        value =
            static_cast<std::uint8_t>(std::clamp(value + rng.index(2 * noise + 1) - noise, 0, 255));
    }
    analyses.push_back(analyse_shapes(pixels, options.frames, options.height, options.width));
    claims.emplace_back();
    for (const auto& object : scene.objects)
      claims.back().push_back({object.color, object.kind, object.motion});
  }
  Shares shares;
  for (int i = 0; i < count; ++i) {
    const auto other = static_cast<std::size_t>((i + shift) % count);
    for (const ShapeScore& score :
         score_claims(claims[other], analyses[static_cast<std::size_t>(i)])) {
      ++shares.shapes;
      shares.color += score.color;
      shares.kind += score.kind;
      shares.motion += score.motion;
    }
  }
  return shares;
}

TEST(ShapesAnalyser, ReadsGeneratedTruth) {
  for (const float two_shapes : {0.0F, 1.0F}) {
    const Shares shares = measure(two_shapes, 120);
    EXPECT_GE(shares.color, 0.99 * shares.shapes) << two_shapes;
    EXPECT_GE(shares.kind, 0.99 * shares.shapes) << two_shapes;
    EXPECT_GE(shares.motion, 0.99 * shares.shapes) << two_shapes;
  }
}

TEST(ShapesAnalyser, ReadsThroughNoise) {
  const Shares shares = measure(0.0F, 60, 0, 12);
  EXPECT_GE(shares.color, 0.97 * shares.shapes);
  EXPECT_GE(shares.kind, 0.97 * shares.shapes);
  EXPECT_GE(shares.motion, 0.97 * shares.shapes);
}

TEST(ShapesAnalyser, IsNearChanceOnShuffledCaptions) {
  const Shares shares = measure(0.0F, 200, 67);
  EXPECT_LT(shares.color, 0.25 * shares.shapes);   // chance 1/8
  EXPECT_LT(shares.kind, 0.40 * shares.shapes);    // chance 1/4
  EXPECT_LT(shares.motion, 0.25 * shares.shapes);  // chance 1/8
}

TEST(ShapesAnalyser, FindsNothingInAnEmptyVideo) {
  const std::vector<std::uint8_t> pixels(3 * 5 * 32 * 48, 128);
  const ShapesAnalysis analysis = analyse_shapes(pixels, 5, 32, 48);
  EXPECT_TRUE(analysis.shapes.empty());
  EXPECT_EQ(analysis.background, (Rgb{128, 128, 128}));
  const std::vector<ShapeClaim> claims{{ShapeColor::kRed, ShapeKind::kStar, ShapeMotion::kStill}};
  const auto scores = score_claims(claims, analysis);
  EXPECT_FALSE(scores[0].color || scores[0].kind || scores[0].motion);
}

TEST(ShapesAnalyser, PairsShapesWithTheClaimsTheyFit) {
  const ShapesAnalysis analysis{
      .background = {},
      .shapes = {{.color = ShapeColor::kBlue, .kind = ShapeKind::kStar},
                 {.color = ShapeColor::kRed, .kind = ShapeKind::kCircle}}};
  const std::vector<ShapeClaim> claims{{ShapeColor::kRed, ShapeKind::kCircle, ShapeMotion::kLeft},
                                       {ShapeColor::kBlue, ShapeKind::kStar, ShapeMotion::kLeft}};
  for (const ShapeScore& score : score_claims(claims, analysis))
    EXPECT_TRUE(score.color && score.kind && score.motion);
}

TEST(ShapesAnalyser, SaysThatTheSizesDoNotFit) {
  const std::vector<std::uint8_t> pixels(10);
  try {
    analyse_shapes(pixels, 1, 2, 2);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[monarch_evaluation] 1 frames of 2x2 pixels do not have 10 bytes");
  }
}

}  // namespace
}  // namespace monarch::evaluation
