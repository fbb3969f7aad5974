// The methods that `monarch compare` compares: what they must be whatever the numbers, and Monarch
// against the operators.
#include <gtest/gtest.h>

#include "monarch/evaluation/claims.h"
#include "monarch/evaluation/monarch_methods.h"
#include "monarch/evaluation/sparse_methods.h"
#include "monarch/evaluation/synthetic_attention.h"
#include "monarch/ops/attention.h"

namespace monarch::evaluation {
namespace {

constexpr ops::Grid kGrid{.frames = 4, .height = 6, .width = 8};

AttentionHead random_head(const ops::Grid& grid, std::uint64_t seed) {
  at::manual_seed(seed);
  const auto draw = [&] { return at::randn({grid.tokens(), 16}, at::kDouble); };
  return {.q = 2 * draw(), .k = draw(), .v = draw(), .grid = grid, .scale = 0.25};
}

at::Tensor all_queries(const AttentionHead& head) { return at::arange(head.tokens(), at::kLong); }

at::Tensor dense_map(const AttentionHead& head) { return dense_rows(head, all_queries(head)); }

at::Tensor map_of(const AttentionHead& head, const AttentionMethod& method) {
  return method.approximate(head).rows(all_queries(head));
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<double>();
}

TEST(AttentionMethods, RowsAreDistributions) {
  const AttentionHead head = random_head(kGrid, 1);
  for (const AttentionMethod& method : comparison_methods(kGrid)) {
    const at::Tensor map = map_of(head, method);
    EXPECT_LT(largest_difference(map.sum(1), at::ones({head.tokens()}, at::kDouble)), 1e-9)
        << method.family << ' ' << method.name;
    EXPECT_GE(map.min().item<double>(), 0) << method.family << ' ' << method.name;
  }
}

TEST(AttentionMethods, SparsityIsThatOfTheMap) {
  const AttentionHead head = random_head(kGrid, 2);
  for (const AttentionMethod& method : comparison_methods(kGrid)) {
    if (method.family.find("monarch") != std::string::npos) continue;
    const MapApproximation approximation = method.approximate(head);
    const double kept =
        approximation.rows(all_queries(head)).gt(0).to(at::kDouble).mean().item<double>();
    EXPECT_NEAR(1 - kept, approximation.sparsity, 1e-9) << method.family << ' ' << method.name;
  }
}

TEST(AttentionMethods, RowsOfSomeQueriesAreThoseOfTheWholeMap) {
  const AttentionHead head = random_head(kGrid, 3);
  const at::Tensor some = at::tensor({5L, 191L, 64L}, at::kLong);
  for (const AttentionMethod& method : comparison_methods(kGrid)) {
    EXPECT_LT(largest_difference(method.approximate(head).rows(some),
                                 map_of(head, method).index_select(0, some)),
              1e-12)
        << method.family << ' ' << method.name;
  }
}

TEST(AttentionMethods, KeepingEverythingIsDense) {
  const AttentionHead head = random_head(kGrid, 4);
  for (const AttentionMethod& method :
       {oracle_top_k(1), radial_attention(8), sliding_tile({2, 4, 4}, {3, 3, 3}),
        sparse_videogen(1), coarse_to_fine({2, 4, 4}, 1)}) {
    const MapApproximation approximation = method.approximate(head);
    EXPECT_LT(largest_difference(approximation.rows(all_queries(head)), dense_map(head)), 1e-12)
        << method.family;
    EXPECT_NEAR(approximation.sparsity, 0, 1e-12) << method.family;
  }
}

TEST(AttentionMethods, OracleKeepsTheLargestWeights) {
  const AttentionHead head = random_head(kGrid, 5);
  const at::Tensor dense = dense_map(head);
  const at::Tensor map = map_of(head, oracle_top_k(0.25));
  const at::Tensor smallest_kept = dense.masked_fill(map.eq(0), 2).amin(1);
  const at::Tensor largest_dropped = dense.masked_fill(map.gt(0), -1).amax(1);
  EXPECT_TRUE(smallest_kept.gt(largest_dropped).all().item<bool>());
  EXPECT_TRUE(map.gt(0).sum(1).eq(head.tokens() / 4).all().item<bool>());
  // Renormalised, nothing else.
  const at::Tensor kept = dense.masked_fill(map.eq(0), 0);
  EXPECT_LT(largest_difference(map, kept / kept.sum(1, true)), 1e-12);
}

// Query and key tokens of kGrid by frame, row and column.
std::int64_t token(std::int64_t frame, std::int64_t row, std::int64_t column) {
  return (frame * kGrid.height + row) * kGrid.width + column;
}

bool sees(const AttentionMethod& method, std::int64_t query, std::int64_t key) {
  const at::Tensor rows =
      method.approximate(random_head(kGrid, 6)).rows(at::full({1}, query, at::kLong));
  return rows[0][key].item<double>() > 0;
}

TEST(AttentionMethods, RadialWindowsHalveWithDistance) {
  // 48 tokens a frame: differences below 48, 24 and 24 positions at distances 1, 2 and 3.
  const AttentionMethod method = radial_attention(1);
  EXPECT_TRUE(sees(method, token(1, 0, 0), token(2, 5, 7)));
  EXPECT_TRUE(sees(method, token(3, 0, 0), token(1, 2, 7)));   // 23 places away
  EXPECT_FALSE(sees(method, token(3, 0, 0), token(1, 3, 0)));  // 24
  EXPECT_TRUE(sees(method, token(3, 0, 0), token(0, 5, 7)));   // the first frame
  // Narrower than a token at distance 2, where the same position is still seen.
  EXPECT_TRUE(sees(radial_attention(0.03), token(3, 2, 2), token(1, 2, 2)));
  EXPECT_FALSE(sees(radial_attention(0.03), token(3, 2, 2), token(1, 2, 3)));
}

TEST(AttentionMethods, SlidingWindowsStayInside) {
  const AttentionMethod method = sliding_tile({1, 2, 2}, {3, 1, 3});
  // Rows in tiles 0, 1, 2; columns in tiles 0 to 3. The window of column tile 0 is 0 to 2.
  EXPECT_TRUE(sees(method, token(0, 0, 0), token(2, 1, 5)));
  EXPECT_FALSE(sees(method, token(0, 0, 0), token(2, 1, 6)));
  EXPECT_FALSE(sees(method, token(0, 0, 0), token(2, 2, 0)));
  EXPECT_FALSE(sees(method, token(0, 0, 0), token(3, 0, 0)));
  EXPECT_TRUE(sees(method, token(2, 4, 4), token(3, 5, 2)));
}

TEST(AttentionMethods, VideogenFindsTheKindOfAHead) {
  // Keys are told apart by their frame alone, or by their place in it alone.
  const auto one_hot = [](const at::Tensor& index, std::int64_t count) {
    return at::one_hot(index, count).to(at::kDouble);
  };
  const at::Tensor tokens = at::arange(kGrid.tokens(), at::kLong);
  const at::Tensor frame = one_hot(tokens.div(kGrid.frame_tokens(), "floor"), kGrid.frames);
  const at::Tensor place = one_hot(tokens.remainder(kGrid.frame_tokens()), kGrid.frame_tokens());
  at::manual_seed(7);
  const at::Tensor v = at::randn({kGrid.tokens(), 16}, at::kDouble);
  const AttentionMethod method = sparse_videogen(0.25);
  const AttentionHead spatial{.q = frame, .k = frame, .v = v, .grid = kGrid, .scale = 20};
  const AttentionHead temporal{.q = place, .k = place, .v = v, .grid = kGrid, .scale = 20};
  for (const AttentionHead& head : {spatial, temporal})
    EXPECT_LT(largest_difference(map_of(head, method), dense_map(head)), 1e-6);
}

TEST(AttentionMethods, CoarseToFineFindsTheBoxThatMatters) {
  // All queries look for the last box.
  at::Tensor k = at::zeros({kGrid.tokens(), 1}, at::kDouble);
  for (const std::int64_t row : {4, 5}) {
    for (const std::int64_t column : {6, 7}) k[token(3, row, column)] = 1;
  }
  const AttentionHead head{.q = at::ones_like(k), .k = k, .v = k, .grid = kGrid, .scale = 40};
  EXPECT_LT(largest_difference(map_of(head, coarse_to_fine({1, 2, 2}, 1.0 / 48)), dense_map(head)),
            1e-9);
}

at::Tensor as_operand(const at::Tensor& t) { return t.unsqueeze(0).unsqueeze(2); }

TEST(MonarchMethods, MonarchRtIsTheOperator) {
  const AttentionHead head = random_head(kGrid, 8);
  for (const ops::MonarchOptions& options :
       {ops::MonarchOptions{}, ops::MonarchOptions{.num_iters = 3},
        ops::MonarchOptions{.f_tied = 2, .h_reduce = 3},
        ops::MonarchOptions{.num_iters = 2, .f_tied = 4, .w_reduce = 2}}) {
    const at::Tensor want =
        ops::monarch_attention(as_operand(head.q), as_operand(head.k), as_operand(head.v), options,
                               kGrid, kGrid, head.scale)[0]
            .select(1, 0);
    const AttentionMethod method = monarchrt(options);
    EXPECT_LT(largest_difference(attention_output(head, method.approximate(head)), want), 1e-6)
        << method.name;
  }
}

TEST(MonarchMethods, VMonarchIsTheOperator) {
  const AttentionHead head = random_head(kGrid, 9);
  std::vector<ops::VMonarchOptions> cases{
      {.num_iters = 1}, {.num_iters = 3, .recompute_first_frame = false}, {.frames_per_factor = 2}};
  using attention::Split;
  for (const Split split : {Split::kFrameRowsXCols, Split::kColsXFrameRows, Split::kPixelsXFrames,
                            Split::kFrameColsXRows, Split::kRowsXFrameCols})
    cases.push_back({.split = split});
  for (const ops::VMonarchOptions& options : cases) {
    const at::Tensor want =
        ops::vmonarch_attention(as_operand(head.q), as_operand(head.k), as_operand(head.v), options,
                                kGrid, head.scale)[0]
            .select(1, 0);
    const AttentionMethod method = vmonarch(options);
    EXPECT_LT(largest_difference(attention_output(head, method.approximate(head)), want), 1e-6)
        << method.name;
  }
}

TEST(MonarchMethods, MisalignedCutsMeetAlignedOnesWhereTheyAgree) {
  const AttentionHead head = random_head(kGrid, 10);
  EXPECT_LT(largest_difference(map_of(head, monarchrt_misaligned(kGrid.width, 2)),
                               map_of(head, monarchrt({.num_iters = 2}))),
            1e-12);
  EXPECT_LT(largest_difference(map_of(head, vmonarch_misaligned(kGrid.frames, {})),
                               map_of(head, vmonarch({}))),
            1e-12);
}

TEST(MonarchMethods, AlignedOnesHoldPeriodicMapsExactly) {
  const AttentionHead head = synthetic_head(SyntheticKind::kPeriodic, kGrid, 11);
  const at::Tensor dense = dense_map(head);
  EXPECT_LT(relative_error(map_of(head, monarchrt({})), dense), 1e-4);
  EXPECT_LT(relative_error(map_of(head, monarchrt({.f_tied = 2})), dense), 1e-4);
  EXPECT_LT(relative_error(map_of(head, vmonarch({.recompute_first_frame = false})), dense), 1e-4);
  EXPECT_GT(relative_error(map_of(head, monarchrt_misaligned(kGrid.height, 1)), dense), 0.05);
  EXPECT_GT(relative_error(map_of(head, oracle_top_k(0.1)), dense), 0.05);
}

TEST(MonarchMethods, RelativeCostCountsBothFactors) {
  // One iteration: 6 b1 b2^2 + 4 b1^2 b2 of 4 b1^2 b2^2.
  EXPECT_DOUBLE_EQ(relative_cost(ops::MonarchOptions{}, kGrid),
                   (6.0 * 6 * 64 + 4.0 * 36 * 8) / (4.0 * 36 * 64));
  EXPECT_GT(relative_cost(ops::MonarchOptions{.num_iters = 2}, kGrid),
            relative_cost(ops::MonarchOptions{}, kGrid));
  EXPECT_GT(relative_cost(ops::VMonarchOptions{}, kGrid),
            relative_cost(ops::VMonarchOptions{.recompute_first_frame = false}, kGrid));
}

// Weight of each query on the keys of its topic, mean and largest distance from it.
std::pair<double, double> weight_on_topic(SyntheticKind kind) {
  const AttentionHead head = synthetic_head(kind, kGrid, 12);
  constexpr std::int64_t kPlaces = 6;
  const at::Tensor wanted = head.q.slice(1, kPlaces).ne(0).to(at::kFloat);
  const at::Tensor topic = head.k.slice(1, kPlaces);
  const at::Tensor weight = (dense_map(head) * at::matmul(wanted, topic.t())).sum(1);
  const double mean = weight.mean().item<double>();
  return {mean, (weight - mean).abs().max().item<double>()};
}

TEST(SyntheticAttention, WeightOnATopicIsAllOrHalf) {
  const auto [sparse, sparse_spread] = weight_on_topic(SyntheticKind::kSparse);
  EXPECT_NEAR(sparse, 1, 1e-3);
  EXPECT_LT(sparse_spread, 1e-3);
  const auto [mixed, mixed_spread] = weight_on_topic(SyntheticKind::kMixed);
  EXPECT_NEAR(mixed, 0.5, 1e-4);
  EXPECT_LT(mixed_spread, 1e-4);
}

// Both parts matter: what suits one of them alone leaves much of the map wrong.
TEST(SyntheticAttention, MixedMapsSuitNoOneAlone) {
  const AttentionHead head = synthetic_head(SyntheticKind::kMixed, kGrid, 12);
  const at::Tensor dense = dense_map(head);
  for (const AttentionMethod& method : {monarchrt({}), oracle_top_k(0.03)}) {
    const double misplaced =
        0.5 * (map_of(head, method) - dense).abs().sum(1).mean().item<double>();
    EXPECT_GT(misplaced, 0.2) << method.family;
    EXPECT_LT(misplaced, 0.6) << method.family;
  }
}

TEST(SyntheticAttention, IsAFunctionOfTheSeed) {
  const AttentionHead one = synthetic_head(SyntheticKind::kMixed, kGrid, 13);
  EXPECT_TRUE(at::equal(one.q, synthetic_head(SyntheticKind::kMixed, kGrid, 13).q));
  EXPECT_FALSE(at::equal(one.q, synthetic_head(SyntheticKind::kMixed, kGrid, 14).q));
}

TEST(Comparison, MeasuresAllMethodsAndReadsTheClaims) {
  const std::vector<AttentionHead> heads{synthetic_head(SyntheticKind::kPeriodic, kGrid, 15)};
  const std::vector<AttentionMethod> methods = comparison_methods(kGrid);
  const SourceResult result = compare_methods("periodic", heads, methods, 64);
  ASSERT_EQ(result.methods.size(), methods.size());
  bool against_oracle = false, alignment = false;
  for (const Claim& claim : check_claims(result)) {
    if (claim.statement.starts_with("monarchrt is nearer")) {
      against_oracle = true;
      EXPECT_EQ(claim.verdict, "holds") << claim.evidence;
    }
    if (claim.statement.starts_with("Splits aligned")) {
      alignment = true;
      EXPECT_EQ(claim.verdict, "holds") << claim.evidence;
    }
  }
  EXPECT_TRUE(against_oracle && alignment);
}

TEST(Comparison, SaysWhereAClaimDoesNotHold) {
  const std::vector<AttentionHead> heads{synthetic_head(SyntheticKind::kSparse, kGrid, 16)};
  const std::vector<AttentionMethod> methods = comparison_methods(kGrid);
  for (const Claim& claim : check_claims(compare_methods("sparse", heads, methods, 64))) {
    if (claim.statement.starts_with("monarchrt is nearer")) {
      EXPECT_EQ(claim.verdict, "does not hold") << claim.evidence;
    }
  }
}

}  // namespace
}  // namespace monarch::evaluation
