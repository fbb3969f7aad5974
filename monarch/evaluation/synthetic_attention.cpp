#include "monarch/evaluation/synthetic_attention.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <numbers>

namespace monarch::evaluation {
namespace {

constexpr double kWaveGain = 2;    // logit of a wave's crest; its trough is at minus that
constexpr double kTopicGain = 14;  // logit of a key of the query's topic
constexpr std::int64_t kTopics = 64;
constexpr double kValueNoise = 0.1;

// Places 0..extent-1 of an axis as points on a circle turned `periods` times: [extent, 2].
at::Tensor circle(std::int64_t extent, double periods) {
  const at::Tensor angle = at::arange(extent, at::kFloat) *
                           (2 * std::numbers::pi * periods / static_cast<double>(extent));
  return at::stack({angle.cos(), angle.sin()}, 1);
}

// [N, 6]: the three circles at each token. A product of two tokens' rows is the sum of the cosines
// of their distances.
at::Tensor places(const ops::Grid& grid) {
  const auto spread = [&](const at::Tensor& axis, at::IntArrayRef shape) {
    return axis.view(shape).expand({grid.frames, grid.height, grid.width, 2});
  };
  return at::cat({spread(circle(grid.frames, 1), {grid.frames, 1, 1, 2}),
                  spread(circle(grid.height, 2), {1, grid.height, 1, 2}),
                  spread(circle(grid.width, 4), {1, 1, grid.width, 2})},
                 3)
      .reshape({grid.tokens(), 6});
}

}  // namespace

std::string_view synthetic_name(SyntheticKind kind) {
  switch (kind) {
    case SyntheticKind::kPeriodic: return "periodic";
    case SyntheticKind::kSparse: return "sparse";
    case SyntheticKind::kMixed: return "mixed";
  }
  return "unknown";
}

std::string_view synthetic_text(SyntheticKind kind) {
  switch (kind) {
    case SyntheticKind::kPeriodic:
      return "Logits are a sum of three waves of the distance between query and key, one each "
             "along "
             "frames, rows and columns: the map is a product of three small matrices.";
    case SyntheticKind::kSparse:
      return "Every token has one of 64 topics, drawn at random; a query looks only at the keys of "
             "one topic, about 1.6 % of all, scattered over the video.";
    case SyntheticKind::kMixed:
      return "Each query gives half of its weight to the keys of its topic (as in the sparse map) "
             "and half to all others; within both halves weights follow the waves of the periodic "
             "map.";
  }
  return "";
}

AttentionHead synthetic_head(SyntheticKind kind, const ops::Grid& grid, std::uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const std::int64_t tokens = grid.tokens();
  const auto draw_index = [&](std::int64_t below) {
    return at::randint(0, below, {tokens}, generator, at::kLong);
  };
  const at::Tensor topic_of_key = draw_index(kTopics);
  // That of some key, so that no query looks for what is not there.
  const at::Tensor topic_of_query = topic_of_key.index_select(0, draw_index(tokens));
  const auto one_hot = [](const at::Tensor& topic) {
    return at::one_hot(topic, kTopics).to(at::kFloat);
  };
  const at::Tensor place = places(grid), topic = one_hot(topic_of_key);
  const at::Tensor noise = at::randn({tokens, place.size(1) + kTopics}, generator, at::kFloat);
  const at::Tensor v = at::cat({place / std::sqrt(3.0), topic}, 1) + kValueNoise * noise;
  const auto head = [&](double wave, const at::Tensor& topic_gain) -> AttentionHead {
    return {.q = at::cat({place * wave, one_hot(topic_of_query) * topic_gain}, 1),
            .k = at::cat({place, topic}, 1),
            .v = v,
            .grid = grid,
            .scale = 1};
  };
  const auto constant = [](double gain) { return at::full({1, 1}, gain, at::kFloat); };
  switch (kind) {
    case SyntheticKind::kPeriodic: return head(kWaveGain, constant(0));
    case SyntheticKind::kSparse: return head(0, constant(kTopicGain));
    case SyntheticKind::kMixed: break;
  }
  // Part p of a query's weight is on its topic by the waves alone; adding log((1 - p) / p) to the
  // topic's logits makes it a half.
  AttentionHead periodic = head(kWaveGain, constant(0));
  periodic.v = topic;
  const at::Tensor on_topic =
      attention_output(
          periodic,
          {.rows = [&](const at::Tensor& queries) { return dense_rows(periodic, queries); }})
          .gather(1, topic_of_query.unsqueeze(1))
          .clamp(1e-6, 1 - 1e-6);
  return head(kWaveGain, (1 / on_topic - 1).log());
}

}  // namespace monarch::evaluation
