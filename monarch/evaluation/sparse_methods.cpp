#include "monarch/evaluation/sparse_methods.h"

#include <bit>
#include <cmath>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::evaluation {
namespace {

// Frame, row and column of tokens; `position` is that in the frame.
struct Coordinates {
  at::Tensor frame, row, column, position;
};

Coordinates coordinates(const at::Tensor& tokens, const ops::Grid& grid) {
  const at::Tensor position = tokens.remainder(grid.frame_tokens());
  return {.frame = tokens.div(grid.frame_tokens(), "floor"),
          .row = position.div(grid.width, "floor"),
          .column = position.remainder(grid.width),
          .position = position};
}

// Queries as a column, all keys as a row, so that comparisons give [R, N].
struct Pairs {
  Coordinates query, key;

  Pairs(const at::Tensor& queries, const ops::Grid& grid)
      : query(coordinates(queries.unsqueeze(1), grid)),
        key(coordinates(at::arange(grid.tokens(), at::kLong).unsqueeze(0), grid)) {}
};

void check_part(const char* method, double keep) {
  MONARCH_CHECK(keep > 0 && keep <= 1, "[monarch_evaluation] ", method,
                " keeps a part of the keys above 0 and at most 1; got ", keep);
}

std::string percent(double part) {
  const double value = std::round(1000 * part) / 10;
  return str_cat(value, " %");
}

// The part `keep` of `count` things, at least one.
std::int64_t share(double keep, std::int64_t count) {
  return std::clamp<std::int64_t>(std::llround(keep * static_cast<double>(count)), 1, count);
}

// Keys among the `size` nearest of `extent` places, the window moved inside at the ends.
at::Tensor in_window(const at::Tensor& query, const at::Tensor& key, std::int64_t size,
                     std::int64_t extent) {
  const at::Tensor begin = (query - size / 2).clamp(0, extent - std::min(size, extent));
  return key.ge(begin).logical_and(key.lt(begin + size));
}

at::Tensor spatial_mask(const at::Tensor& queries, const ops::Grid& grid, double keep) {
  const Pairs pairs(queries, grid);
  return in_window(pairs.query.frame, pairs.key.frame, share(keep, grid.frames), grid.frames)
      .logical_or(pairs.key.frame.eq(0));
}

at::Tensor temporal_mask(const at::Tensor& queries, const ops::Grid& grid, double keep) {
  const Pairs pairs(queries, grid);
  return in_window(pairs.query.position, pairs.key.position, share(keep, grid.frame_tokens()),
                   grid.frame_tokens())
      .logical_or(pairs.key.frame.eq(0));
}

double output_error(const AttentionHead& head, const MapApproximation& approximation,
                    const at::Tensor& queries) {
  const at::Tensor exact = at::matmul(dense_rows(head, queries), head.v);
  return (at::matmul(approximation.rows(queries), head.v) - exact).norm().item<double>();
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Index of the box each token of the grid lies in, and the number of boxes.
std::pair<at::Tensor, std::int64_t> boxes_of_tokens(const ops::Grid& grid, const Box& box) {
  const Coordinates at = coordinates(at::arange(grid.tokens(), at::kLong), grid);
  const std::int64_t rows = ceil_div(grid.height, box.height);
  const std::int64_t columns = ceil_div(grid.width, box.width);
  return {(at.frame.div(box.frames, "floor") * rows + at.row.div(box.height, "floor")) * columns +
              at.column.div(box.width, "floor"),
          ceil_div(grid.frames, box.frames) * rows * columns};
}

std::string box_name(const Box& box) {
  return str_cat(box.frames, "x", box.height, "x", box.width);
}

void check_box(const char* what, const Box& box) {
  MONARCH_CHECK(box.frames >= 1 && box.height >= 1 && box.width >= 1, "[monarch_evaluation] ", what,
                " ", box_name(box), " is empty; all three sizes are at least 1");
}

}  // namespace

AttentionMethod oracle_top_k(double keep) {
  check_part("oracle top-k", keep);
  return {.family = "oracle top-k",
          .name = percent(keep) + " of the keys",
          .settings = {{"keep", keep}},
          .approximate = [keep](const AttentionHead& head) -> MapApproximation {
            const std::int64_t count = share(keep, head.tokens());
            return {
                .rows =
                    [head, count](const at::Tensor& queries) {
                      const at::Tensor dense = dense_rows(head, queries);
                      const auto [weights, keys] = dense.topk(count, 1);
                      return at::zeros_like(dense).scatter_(
                          1, keys, weights / weights.sum(1, /*keepdim=*/true));
                    },
                .sparsity = 1 - static_cast<double>(count) / static_cast<double>(head.tokens())};
          }};
}

AttentionMethod radial_attention(double width) {
  MONARCH_CHECK(width > 0, "[monarch_evaluation] radial attention of width ", width,
                " sees nothing; use a positive number, 1 is the published mask");
  return {.family = "radial",
          .name = str_cat("width ", width),
          .settings = {{"width", width}},
          .approximate = [width](const AttentionHead& head) {
            const ops::Grid grid = head.grid;
            std::vector<std::int64_t> octaves;  // 2^floor(log2 max(d, 1)) of a distance in frames
            for (std::int64_t d = 0; d < grid.frames; ++d)
              octaves.push_back(static_cast<std::int64_t>(
                  std::bit_floor(static_cast<std::uint64_t>(std::max<std::int64_t>(d, 1)))));
            const at::Tensor octave_of = at::tensor(octaves, at::kLong);
            return masked_attention(head, [grid, width, octave_of](const at::Tensor& queries) {
              const Pairs pairs(queries, grid);
              const std::int64_t s = grid.frame_tokens();
              const at::Tensor distance = (pairs.query.frame - pairs.key.frame).abs();
              const at::Tensor octave = octave_of.take(distance);
              const at::Tensor apart = (pairs.query.position - pairs.key.position).abs();
              const at::Tensor near = (apart + 1).mul(octave).le(width * static_cast<double>(s));
              const at::Tensor stride = (octave + (s - 1)).div(s, "floor");
              const at::Tensor same = apart.eq(0).logical_and(distance.remainder(stride).eq(0));
              return near.logical_or(same).logical_or(pairs.key.frame.eq(0));
            });
          }};
}

AttentionMethod sliding_tile(const Box& tile, const Box& window) {
  check_box("the tile", tile);
  check_box("the window", window);
  MONARCH_CHECK(window.frames % 2 == 1 && window.height % 2 == 1 && window.width % 2 == 1,
                "[monarch_evaluation] the window ", box_name(window),
                " has no middle tile; use odd sizes");
  return {
      .family = "sliding tile",
      .name = str_cat("tile ", box_name(tile), ", window ", box_name(window)),
      .settings = {{"tile", {tile.frames, tile.height, tile.width}},
                   {"window", {window.frames, window.height, window.width}}},
      .approximate = [tile, window](const AttentionHead& head) {
        const ops::Grid grid = head.grid;
        return masked_attention(head, [grid, tile, window](const at::Tensor& queries) {
          const Pairs pairs(queries, grid);
          const auto axis = [](const at::Tensor& query, const at::Tensor& key, std::int64_t size,
                               std::int64_t count, std::int64_t extent) {
            return in_window(query.div(size, "floor"), key.div(size, "floor"), count,
                             ceil_div(extent, size));
          };
          return axis(pairs.query.frame, pairs.key.frame, tile.frames, window.frames, grid.frames)
              .logical_and(
                  axis(pairs.query.row, pairs.key.row, tile.height, window.height, grid.height))
              .logical_and(
                  axis(pairs.query.column, pairs.key.column, tile.width, window.width, grid.width));
        });
      }};
}

AttentionMethod sparse_videogen(double keep) {
  check_part("SVG", keep);
  return {.family = "sparse videogen",
          .name = percent(keep) + " and the first frame",
          .settings = {{"keep", keep}},
          .approximate = [keep](const AttentionHead& head) {
            constexpr std::int64_t kProfiledQueries = 32;
            const ops::Grid grid = head.grid;
            MapApproximation spatial = masked_attention(
                head, [=](const at::Tensor& queries) { return spatial_mask(queries, grid, keep); });
            MapApproximation temporal = masked_attention(head, [=](const at::Tensor& queries) {
              return temporal_mask(queries, grid, keep);
            });
            const at::Tensor few = spread_queries(head.tokens(), kProfiledQueries);
            return output_error(head, spatial, few) <= output_error(head, temporal, few) ? spatial
                                                                                         : temporal;
          }};
}

AttentionMethod coarse_to_fine(const Box& box, double keep) {
  check_box("the box", box);
  check_part("coarse-to-fine", keep);
  return {.family = "coarse-to-fine",
          .name = str_cat("boxes ", box_name(box), ", ", percent(keep), " of them"),
          .settings = {{"box", {box.frames, box.height, box.width}}, {"keep", keep}},
          .approximate = [box, keep](const AttentionHead& head) {
            const auto [box_of, boxes] = boxes_of_tokens(head.grid, box);
            const at::Tensor counts =
                at::zeros({boxes}, head.q.options())
                    .index_add_(0, box_of, at::ones({head.tokens()}, head.q.options()));
            const auto means = [&, &box_of = box_of, &boxes = boxes](const at::Tensor& t) {
              return at::zeros({boxes, t.size(1)}, t.options()).index_add_(0, box_of, t) /
                     counts.unsqueeze(1);
            };
            const at::Tensor scores = at::matmul(means(head.q), means(head.k).t());
            const at::Tensor best = std::get<1>(scores.topk(share(keep, boxes), 1));
            const at::Tensor seen = at::zeros({boxes, boxes}, at::kBool).scatter_(1, best, true);
            return masked_attention(head, [seen, box_of = box_of](const at::Tensor& queries) {
              return seen.index_select(0, box_of.index_select(0, queries)).index_select(1, box_of);
            });
          }};
}

}  // namespace monarch::evaluation
