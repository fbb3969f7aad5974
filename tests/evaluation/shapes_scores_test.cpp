#include "monarch/evaluation/shapes_scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "monarch/base/error.h"

namespace monarch::evaluation {
namespace {

VideoScore video(std::int64_t caption, std::int64_t seed, std::int64_t hits,
                 std::int64_t shapes = 1) {
  return {.caption = caption, .seed = seed, .tally = {.shapes = shapes, .all = hits}};
}

// Captions 0 .. n-1 with one noise each; `hit` says which are kept.
template <typename Hit>
std::vector<VideoScore> videos(std::int64_t n, Hit hit) {
  std::vector<VideoScore> all;
  for (std::int64_t i = 0; i < n; ++i) all.push_back(video(i, 0, hit(i) ? 1 : 0));
  return all;
}

TEST(ScoreVideo, CountsWhatIsKept) {
  const ShapeClaim circle{ShapeColor::kRed, ShapeKind::kCircle, ShapeMotion::kLeft};
  const ShapeClaim star{ShapeColor::kBlue, ShapeKind::kStar, ShapeMotion::kUp};
  ShapesAnalysis analysis;
  analysis.shapes.push_back({.color = ShapeColor::kRed,
                             .kind = ShapeKind::kCircle,
                             .motion = ShapeMotion::kLeft,
                             .overlap = 0.9});
  const std::vector<ShapeClaim> both{star, circle};
  const VideoScore score = score_video(both, analysis);
  EXPECT_EQ(score.tally.shapes, 2);
  EXPECT_EQ(score.tally.color, 1);
  EXPECT_EQ(score.tally.all, 1);
  EXPECT_DOUBLE_EQ(score.overlap, 0.45);  // one of two is missing
  EXPECT_DOUBLE_EQ(score.tally.percent(score.tally.kind), 50);
  const VideoScore back = video_score_from_json(to_json(score));
  EXPECT_EQ(to_json(back), to_json(score));
  EXPECT_FALSE(back.psnr.has_value());
}

// Half of 400 kept: the interval of a binomial share is 1.96 sqrt(p (1 - p) / n).
TEST(Accuracy, HasTheIntervalOfAShare) {
  const Estimate share = accuracy(videos(400, [](auto i) { return i % 2 == 0; }), Attribute::kAll);
  EXPECT_DOUBLE_EQ(share.value, 0.5);
  EXPECT_NEAR(share.low, 0.5 - 0.049, 0.004);
  EXPECT_NEAR(share.high, 0.5 + 0.049, 0.004);
  const Estimate again = accuracy(videos(400, [](auto i) { return i % 2 == 0; }), Attribute::kAll);
  EXPECT_EQ(again.low, share.low);
}

// Noises of one caption are not independent: what repeats makes nothing surer.
TEST(Accuracy, DrawsCaptionsWithAllTheirNoises) {
  const auto once = videos(100, [](auto i) { return i % 4 == 0; });
  std::vector<VideoScore> thrice;
  for (std::int64_t seed = 0; seed < 3; ++seed) {
    for (VideoScore one : once) {
      one.seed = seed;
      thrice.push_back(one);
    }
  }
  const Estimate a = accuracy(once, Attribute::kAll), b = accuracy(thrice, Attribute::kAll);
  EXPECT_DOUBLE_EQ(a.value, 0.25);
  EXPECT_NEAR(a.low, b.low, 1e-12);
  EXPECT_NEAR(a.high, b.high, 1e-12);
}

TEST(Accuracy, CountsShapes) {
  const std::vector<VideoScore> mixed{video(0, 0, 1, 1), video(1, 0, 0, 2)};
  EXPECT_DOUBLE_EQ(accuracy(mixed, Attribute::kAll).value, 1.0 / 3);
  ASSERT_EQ(with_shapes(mixed, 2).size(), 1U);
  EXPECT_EQ(with_shapes(mixed, 2)[0].caption, 1);
  EXPECT_TRUE(std::isnan(accuracy(with_shapes(mixed, 2), Attribute::kAll).low));
  EXPECT_EQ(accuracy({}, Attribute::kAll).value, 0);
}

// Both keep half, in the same captions: there is no doubt that they are equal. Unpaired, the
// interval would be 0.14 wide on either side.
TEST(AccuracyDifference, IsPaired) {
  const auto a = videos(100, [](auto i) { return i % 2 == 0; });
  auto b = a;
  std::shuffle(b.begin(), b.end(), std::mt19937_64(3));
  const Estimate same = accuracy_difference(a, b, Attribute::kAll);
  EXPECT_EQ(same.value, 0);
  EXPECT_EQ(same.low, 0);
  EXPECT_EQ(same.high, 0);
}

// Kept in opposite captions: d = +1 or -1, whose deviation is 1.
TEST(AccuracyDifference, HasTheIntervalOfItsPairs) {
  const auto a = videos(400, [](auto i) { return i % 2 == 0; });
  const auto b = videos(400, [](auto i) { return i % 2 == 1; });
  const Estimate opposite = accuracy_difference(a, b, Attribute::kAll);
  EXPECT_EQ(opposite.value, 0);
  EXPECT_NEAR(opposite.low, -0.098, 0.008);
  EXPECT_NEAR(opposite.high, 0.098, 0.008);
  // 10 of 400 lost: mean -0.025, deviation sqrt(0.025 * 0.975).
  const auto c = videos(400, [](auto i) { return i % 2 == 0 && i >= 20; });
  const Estimate lost = accuracy_difference(c, a, Attribute::kAll);
  EXPECT_DOUBLE_EQ(lost.value, -0.025);
  EXPECT_NEAR(lost.low, -0.025 - 0.0153, 0.003);
  EXPECT_NEAR(lost.high, -0.025 + 0.0153, 0.003);
}

TEST(AccuracyDifference, TakesOnlyPairs) {
  const std::vector<VideoScore> a{video(0, 0, 1), video(0, 1, 1), video(1, 0, 1)};
  const std::vector<VideoScore> b{video(0, 1, 0), video(1, 0, 1), video(7, 0, 0)};
  EXPECT_DOUBLE_EQ(accuracy_difference(a, b, Attribute::kAll).value, 0.5);
  const std::vector<VideoScore> other{video(0, 1, 0, 2)};
  EXPECT_THROW(accuracy_difference(a, other, Attribute::kAll), Error);
}

}  // namespace
}  // namespace monarch::evaluation
