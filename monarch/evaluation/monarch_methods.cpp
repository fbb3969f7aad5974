#include "monarch/evaluation/monarch_methods.h"

#include <utility>

#include "monarch/attention/layout.h"
#include "monarch/base/error.h"
#include "monarch/ops/attention.h"
#include "monarch/ops/options_json.h"

namespace monarch::evaluation {
namespace {

// Where the tokens of a head lie in its factors: position = (tile * rows + row) * cols + col.
struct Positions {
  at::Tensor token_of;  // [N] int64, by position
  at::Tensor of_token;  // [N] int64, the inverse
  std::int64_t tiles = 1, rows = 1, cols = 1;
};

template <typename TokenOf>
Positions positions(std::int64_t tokens, std::int64_t rows, std::int64_t cols, TokenOf token_of) {
  const at::Tensor order = at::empty({tokens}, at::kLong);
  auto* const token = order.data_ptr<std::int64_t>();
  for (std::int64_t position = 0; position < tokens; ++position)
    token[position] = token_of(position);
  return {order, at::argsort(order), tokens / (rows * cols), rows, cols};
}

// Both factors, ready to be multiplied row by row.
//   weight of query (a,i,j) on key (f,k,l) = l[(a,j,i)][(f,k)] r[(a,j)][(f,k)][l]
struct Factors {
  at::Tensor l;  // [A*J*I, F*I]
  at::Tensor r;  // [A*J, F*I, J]
};

at::Tensor map_rows(const Factors& factors, const Positions& p, const at::Tensor& queries) {
  const at::Tensor position = p.of_token.index_select(0, queries);
  const at::Tensor row = position.div(p.cols, "floor").remainder(p.rows);
  const at::Tensor column =  // (a, j)
      position.div(p.rows * p.cols, "floor") * p.cols + position.remainder(p.cols);
  const at::Tensor weights = factors.l.index_select(0, column * p.rows + row).unsqueeze(2) *
                             factors.r.index_select(0, column);  // [R, F*I, J]
  return weights.flatten(1).index_select(1, p.of_token);
}

// Iteration of MonarchRT. Q[a,i,j], K[f,k,l] are tiles of the same tokens (A = F):
//   R = softmax_l(s g aR·K)    aL = Σ_l R K    cL = Σ_l R log R
//   L = softmax_fk(s Q·aL - cL)    aR = Σ_i L Q    cR = Σ_i L    g = min(1/(cR + 1e-6), 1e4)
Factors monarchrt_factors(const AttentionHead& head, const Positions& p, std::int64_t num_iters) {
  constexpr double kCrEpsilon = 1e-6;
  constexpr double kMaxTemperature = 1e4;
  const auto tiles = [&](const at::Tensor& t) {
    return t.index_select(0, p.token_of).view({p.tiles, p.rows, p.cols, t.size(1)});
  };
  const at::Tensor q = tiles(head.q);                        // [A, I, J, D]
  const at::Tensor keys = tiles(head.k);                     // [F, K, L, D]
  const at::Tensor q_cols = q.transpose(1, 2).contiguous();  // [A, J, I, D]
  const std::int64_t key_rows = p.tiles * p.rows;
  at::Tensor a_r = q.unsqueeze(1);  // [A, F or 1, K, J, D]
  at::Tensor g;                     // [A, F, K, J, 1]
  if (num_iters > 1) g = at::full({1, 1, 1, 1, 1}, 1 / (1 + kCrEpsilon), q.options());
  for (std::int64_t iteration = 1;; ++iteration) {
    at::Tensor z = at::matmul(a_r, keys.transpose(2, 3)) * head.scale;  // [A, F, K, J, L]
    if (g.defined()) z = z * g;
    const at::Tensor r = at::softmax(z, 4);
    const at::Tensor c_l = (r * at::log_softmax(z, 4)).sum(4);  // [A, F, K, J]
    const at::Tensor a_l = at::matmul(r, keys)                  // [A, F, K, J, D]
                               .permute({0, 3, 1, 2, 4})
                               .reshape({p.tiles, p.cols, key_rows, -1});
    const at::Tensor y = at::matmul(q_cols, a_l.transpose(2, 3)) * head.scale -
                         c_l.permute({0, 3, 1, 2}).reshape({p.tiles, p.cols, 1, key_rows});
    const at::Tensor l = at::softmax(y, 3);  // [A, J, I, F*K]
    if (iteration == num_iters) {
      return {.l = l.reshape({-1, key_rows}),
              .r = r.permute({0, 3, 1, 2, 4}).reshape({p.tiles * p.cols, key_rows, p.cols})};
    }
    const auto by_key = [&](const at::Tensor& t) {  // [A, J, F*K, X] -> [A, F, K, J, X]
      return t.reshape({p.tiles, p.cols, p.tiles, p.rows, t.size(3)}).permute({0, 2, 3, 1, 4});
    };
    a_r = by_key(at::matmul(l.transpose(2, 3), q_cols));
    g = (by_key(l.sum(2).unsqueeze(3)) + kCrEpsilon).reciprocal().clamp_max(kMaxTemperature);
  }
}

// Iteration of VMonarch, one tile: i, k < m rows, j, l < P positions.
//   R[k,j,:] = softmax_l(s aR·K / max(cR, c_r_min))    aL = Σ_l R K    H = -Σ_l R log R
//   L[j,i,:] = softmax_k(s Q·aL + H)    aR = Σ_i L Q    cR = Σ_i L
Factors vmonarch_factors(const AttentionHead& head, const Positions& p,
                         const ops::VMonarchOptions& options) {
  const auto split = [&](const at::Tensor& t) {
    return t.index_select(0, p.token_of).view({p.rows, p.cols, t.size(1)});
  };
  const at::Tensor q = split(head.q), keys = split(head.k);  // [m, P, D]
  const at::Tensor q_cols = q.transpose(0, 1).contiguous();  // [P, m, D]
  at::Tensor a_r = q;
  at::Tensor c_r = at::ones({p.rows, p.cols, 1}, q.options());
  for (std::int64_t iteration = 1;; ++iteration) {
    const at::Tensor z = at::matmul(a_r, keys.transpose(1, 2)) * head.scale /
                         c_r.clamp_min(options.c_r_min);  // [m(k), P(j), P(l)]
    const at::Tensor r = at::softmax(z, 2);
    const at::Tensor entropy = -(r * at::log_softmax(z, 2)).sum(2);  // [m, P]
    const at::Tensor a_l = at::matmul(r, keys).transpose(0, 1);      // [P, m(k), D]
    const at::Tensor l =
        at::softmax(at::matmul(q_cols, a_l.transpose(1, 2)) * head.scale + entropy.t().unsqueeze(1),
                    2);  // [P(j), m(i), m(k)]
    if (iteration == options.num_iters)
      return {.l = l.reshape({-1, p.rows}), .r = r.transpose(0, 1).contiguous()};
    a_r = at::matmul(l.transpose(1, 2), q_cols).transpose(0, 1);  // [m(k), P(j), D]
    c_r = l.sum(1).t().unsqueeze(2);
  }
}

double factor_sparsity(const Positions& p) {
  return 1 - 1.0 / static_cast<double>(p.rows) - 1.0 / static_cast<double>(p.cols);
}

MapApproximation monarchrt_map(const AttentionHead& head, const Positions& p,
                               std::int64_t num_iters) {
  return {.rows = [factors = monarchrt_factors(head, p, num_iters),
                   p](const at::Tensor& queries) { return map_rows(factors, p, queries); },
          .sparsity = factor_sparsity(p)};
}

MapApproximation vmonarch_map(const AttentionHead& head, const Positions& p,
                              const ops::VMonarchOptions& options) {
  const bool recompute = options.recompute_first_frame;
  return {.rows =
              [head, recompute, p,
               factors = vmonarch_factors(head, p, options)](const at::Tensor& queries) {
                const at::Tensor rows = map_rows(factors, p, queries);
                if (!recompute) return rows;
                return at::where(queries.lt(head.grid.frame_tokens()).unsqueeze(1),
                                 dense_rows(head, queries), rows);
              },
          .sparsity =
              factor_sparsity(p) - (recompute ? 1.0 / static_cast<double>(head.grid.frames) : 0.0)};
}

std::string iterations(std::int64_t count) {
  return str_cat(count, count == 1 ? " iteration" : " iterations");
}

std::string recompute_name(const ops::VMonarchOptions& options) {
  return options.recompute_first_frame ? "" : ", first frame not recomputed";
}

attention::SplitLayout split_layout(const ops::Grid& grid, const ops::VMonarchOptions& options) {
  return {grid.frames, grid.height, grid.width, options.frames_per_factor, options.split};
}

}  // namespace

AttentionMethod monarchrt(const ops::MonarchOptions& options) {
  return {.family = "monarchrt",
          .name = str_cat(options.f_tied, "x", options.h_reduce, "x", options.w_reduce, ", ",
                          iterations(options.num_iters)),
          .settings = {{"num_iters", options.num_iters},
                       {"f_tied", options.f_tied},
                       {"h_reduce", options.h_reduce},
                       {"w_reduce", options.w_reduce}},
          .approximate =
              [options](const AttentionHead& head) {
                const ops::Blocks blocks = ops::blocks_of(head.grid, options);
                const attention::BlockLayout layout{head.grid.height, head.grid.width,
                                                    options.f_tied, options.h_reduce,
                                                    options.w_reduce};
                return monarchrt_map(head,
                                     positions(head.tokens(), blocks.rows, blocks.cols,
                                               [&](std::int64_t position) {
                                                 return layout.token_of_position(position);
                                               }),
                                     options.num_iters);
              },
          .attend =
              [options](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const ops::Grid& grid) {
                return ops::monarch_attention(q, k, v, options, grid, grid);
              }};
}

AttentionMethod monarchrt_misaligned(std::int64_t cols, std::int64_t num_iters) {
  return {.family = "monarchrt misaligned",
          .name = str_cat(cols, " columns, ", iterations(num_iters)),
          .settings = {{"num_iters", num_iters}, {"cols", cols}},
          .approximate = [cols, num_iters](const AttentionHead& head) {
            const std::int64_t frame = head.grid.frame_tokens();
            MONARCH_CHECK(cols >= 1 && frame % cols == 0, "[monarch_evaluation] ", cols,
                          " columns do not divide the ", frame, " tokens of a frame");
            return monarchrt_map(head,
                                 positions(head.tokens(), frame / cols, cols,
                                           [](std::int64_t position) { return position; }),
                                 num_iters);
          }};
}

AttentionMethod vmonarch(const ops::VMonarchOptions& options) {
  return {.family = "vmonarch",
          .name = str_cat(ops::split_name(options.split),
                          options.frames_per_factor > 1
                              ? str_cat(", ", options.frames_per_factor, " frames a row")
                              : std::string(),
                          ", ", iterations(options.num_iters), recompute_name(options)),
          .settings = ops::as_json(options),
          .approximate =
              [options](const AttentionHead& head) {
                MONARCH_CHECK(head.grid.frames % options.frames_per_factor == 0,
                              "[monarch_evaluation] ", head.grid.frames,
                              " frames are not divisible by frames_per_factor ",
                              options.frames_per_factor);
                const attention::SplitLayout layout = split_layout(head.grid, options);
                return vmonarch_map(head,
                                    positions(head.tokens(), layout.num_rows(), layout.num_cols(),
                                              [&](std::int64_t position) {
                                                return layout.token_of_position(position);
                                              }),
                                    options);
              },
          .attend =
              [options](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const ops::Grid& grid) {
                return ops::vmonarch_attention(q, k, v, options, grid);
              }};
}

AttentionMethod vmonarch_misaligned(std::int64_t rows, const ops::VMonarchOptions& options) {
  Json settings = ops::as_json(options);
  settings.erase("split");
  settings["rows"] = rows;
  return {.family = "vmonarch misaligned",
          .name = str_cat(rows, " rows, ", iterations(options.num_iters), recompute_name(options)),
          .settings = settings,
          .approximate = [rows, options](const AttentionHead& head) {
            MONARCH_CHECK(rows >= 1 && head.tokens() % rows == 0, "[monarch_evaluation] ", rows,
                          " rows do not divide the ", head.tokens(), " tokens of the video");
            return vmonarch_map(head,
                                positions(head.tokens(), rows, head.tokens() / rows,
                                          [](std::int64_t position) { return position; }),
                                options);
          }};
}

// Products with a dimension of D, over 4 N^2 D. For one pair of tiles of b1 x b2 tokens: R costs
// b1 b2^2 and so do aL and Y, L costs b1^2 b2 and so do aR and the output.
double relative_cost(const ops::MonarchOptions& options, const ops::Grid& grid) {
  const ops::Blocks blocks = ops::blocks_of(grid, options);
  const auto b1 = static_cast<double>(blocks.rows), b2 = static_cast<double>(blocks.cols);
  const auto t = static_cast<double>(options.num_iters);
  return ((2 * t + 1) * b1 * b2 * b2 + 2 * t * b1 * b1 * b2) / (2 * b1 * b1 * b2 * b2);
}

double relative_cost(const ops::VMonarchOptions& options, const ops::Grid& grid) {
  const attention::SplitLayout layout = split_layout(grid, options);
  const auto m = static_cast<double>(layout.num_rows()), p = static_cast<double>(layout.num_cols());
  const auto t = static_cast<double>(options.num_iters);
  const double first = options.recompute_first_frame ? 1.0 / static_cast<double>(grid.frames) : 0.0;
  return ((2 * t + 1) * m * p * p + 2 * t * m * m * p) / (2 * m * m * p * p) + first;
}

}  // namespace monarch::evaluation
