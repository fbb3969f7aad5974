#include "monarch/evaluation/shapes_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::evaluation {
namespace {

constexpr std::size_t kDraws = 10000;
constexpr std::uint64_t kBootstrapSeed = 1979;
constexpr double kTail = 0.025;

// Of one caption: shapes seen as claimed (or how many more than by the reference), and claimed.
struct Cluster {
  double hits = 0, shapes = 0;
};

std::int64_t hits(const ShapesTally& tally, Attribute attribute) {
  switch (attribute) {
    case Attribute::kColor: return tally.color;
    case Attribute::kShape: return tally.kind;
    case Attribute::kMotion: return tally.motion;
    case Attribute::kAll: return tally.all;
  }
  return 0;
}

// Linear between the two nearest of sorted values.
double quantile(const std::vector<double>& sorted, double part) {
  const double at = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double ratio(const Cluster& sum) { return sum.shapes > 0 ? sum.hits / sum.shapes : 0; }

Estimate bootstrap(const std::map<std::int64_t, Cluster>& by_caption) {
  std::vector<Cluster> clusters;
  Cluster sum;
  for (const auto& [caption, cluster] : by_caption) {
    clusters.push_back(cluster);
    sum.hits += cluster.hits;
    sum.shapes += cluster.shapes;
  }
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  if (clusters.size() < 2) return {ratio(sum), kUnknown, kUnknown};
  std::mt19937_64 random(kBootstrapSeed);
  std::vector<double> draws(kDraws);
  for (double& draw : draws) {
    Cluster drawn;
    for (std::size_t i = 0; i < clusters.size(); ++i) {
      const Cluster& one = clusters[random() % clusters.size()];
      drawn.hits += one.hits;
      drawn.shapes += one.shapes;
    }
    draw = ratio(drawn);
  }
  std::sort(draws.begin(), draws.end());
  return {ratio(sum), quantile(draws, kTail), quantile(draws, 1 - kTail)};
}

}  // namespace

void ShapesTally::add(const ShapeScore& score) {
  ++shapes;
  color += score.color ? 1 : 0;
  kind += score.kind ? 1 : 0;
  motion += score.motion ? 1 : 0;
  all += score.color && score.kind && score.motion ? 1 : 0;
}

void ShapesTally::add(const ShapesTally& other) {
  shapes += other.shapes;
  color += other.color;
  kind += other.kind;
  motion += other.motion;
  all += other.all;
}

double ShapesTally::percent(std::int64_t count) const {
  return shapes > 0 ? 100.0 * static_cast<double>(count) / static_cast<double>(shapes) : 0.0;
}

Json percentages(const ShapesTally& tally) {
  return {{"shapes", tally.shapes},
          {"color_percent", tally.percent(tally.color)},
          {"shape_percent", tally.percent(tally.kind)},
          {"motion_percent", tally.percent(tally.motion)},
          {"all_percent", tally.percent(tally.all)}};
}

VideoScore score_video(std::span<const ShapeClaim> claims, const ShapesAnalysis& analysis) {
  VideoScore score;
  for (const ShapeScore& one : score_claims(claims, analysis)) score.tally.add(one);
  const std::size_t seen = std::min(claims.size(), analysis.shapes.size());
  for (std::size_t i = 0; i < seen; ++i)
    score.overlap += analysis.shapes[i].overlap / static_cast<double>(claims.size());
  return score;
}

Json to_json(const VideoScore& score) {
  Json json{
      {"caption", score.caption},   {"seed", score.seed},        {"shapes", score.tally.shapes},
      {"color", score.tally.color}, {"shape", score.tally.kind}, {"motion", score.tally.motion},
      {"all", score.tally.all},     {"overlap", score.overlap},  {"seconds", score.seconds}};
  if (score.ssim) json["ssim"] = *score.ssim;
  if (score.psnr) json["psnr"] = *score.psnr;
  return json;
}

VideoScore video_score_from_json(const Json& json) {
  VideoScore score;
  OptionsReader reader(json, "a video of the results");
  reader.read("caption", score.caption);
  reader.read("seed", score.seed);
  reader.read("shapes", score.tally.shapes);
  reader.read("color", score.tally.color);
  reader.read("shape", score.tally.kind);
  reader.read("motion", score.tally.motion);
  reader.read("all", score.tally.all);
  reader.read("overlap", score.overlap);
  reader.read("seconds", score.seconds);
  double value = 0;
  if (reader.read("ssim", value)) score.ssim = value;
  if (reader.read("psnr", value)) score.psnr = value;
  reader.finish();
  return score;
}

Estimate accuracy(std::span<const VideoScore> videos, Attribute attribute) {
  std::map<std::int64_t, Cluster> by_caption;
  for (const VideoScore& video : videos) {
    Cluster& cluster = by_caption[video.caption];
    cluster.hits += static_cast<double>(hits(video.tally, attribute));
    cluster.shapes += static_cast<double>(video.tally.shapes);
  }
  return bootstrap(by_caption);
}

Estimate accuracy_difference(std::span<const VideoScore> videos,
                             std::span<const VideoScore> reference, Attribute attribute) {
  std::map<std::pair<std::int64_t, std::int64_t>, const VideoScore*> partners;
  for (const VideoScore& video : reference) partners[{video.caption, video.seed}] = &video;
  std::map<std::int64_t, Cluster> by_caption;
  for (const VideoScore& video : videos) {
    const auto found = partners.find({video.caption, video.seed});
    if (found == partners.end()) continue;
    const VideoScore& partner = *found->second;
    MONARCH_CHECK(partner.tally.shapes == video.tally.shapes, "[monarch_evaluation] caption ",
                  video.caption, " claims ", video.tally.shapes, " shapes in one result and ",
                  partner.tally.shapes, " in the other; the captions are not the same");
    Cluster& cluster = by_caption[video.caption];
    cluster.hits += static_cast<double>(hits(video.tally, attribute)) -
                    static_cast<double>(hits(partner.tally, attribute));
    cluster.shapes += static_cast<double>(video.tally.shapes);
  }
  return bootstrap(by_caption);
}

std::vector<VideoScore> with_shapes(std::span<const VideoScore> videos, std::int64_t shapes) {
  std::vector<VideoScore> some;
  for (const VideoScore& video : videos) {
    if (video.tally.shapes == shapes) some.push_back(video);
  }
  return some;
}

}  // namespace monarch::evaluation
