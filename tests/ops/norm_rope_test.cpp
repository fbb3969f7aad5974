// The pass before attention as a Torch operator: against its composition, and into a cache.
#include "monarch/ops/norm_rope.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "monarch/ops/attention.h"
#include "monarch/ops/usage.h"
#include "tests/ops/support/operands.h"

namespace monarch::ops {
namespace {

constexpr double kEps = 1e-6;
const Grid kGrid{2, 4, 6};
constexpr int64_t kTokens = 48, kHeads = 3, kDim = 10;

at::Tensor angles() {
  const at::Tensor angle = normal({kTokens, kDim / 2}, 7);
  return at::polar(at::ones_like(angle), angle).to(at::kComplexFloat);
}

struct Layer {
  at::Tensor x = normal({2, kTokens, kHeads, kDim}, 1);
  at::Tensor weight = normal({kHeads * kDim}, 2);
  at::Tensor rope = angles();
};

TEST(NormRope, KernelsMatchTheComposition) {
  const Layer layer;
  for (const bool weighted : {true, false}) {
    for (const bool turned : {true, false}) {
      const at::Tensor rope = turned ? layer.rope : at::Tensor();
      const auto run = [&](at::ScalarType type) {  // value and gradients
        const at::Tensor x = layer.x.to(type).requires_grad_();
        const at::Tensor weight =
            weighted ? layer.weight.to(type).detach().requires_grad_() : at::Tensor();
        const at::Tensor out = norm_rope(x, weight, rope, kEps);
        EXPECT_EQ(out.scalar_type(), type);
        std::vector<at::Tensor> leaves{x}, results{out.detach()};
        if (weighted) leaves.push_back(weight);
        for (const at::Tensor& grad : gradients(out, leaves, normal(x.sizes(), 4)))
          results.push_back(grad);
        const at::NoGradGuard no_grad;
        EXPECT_TRUE(at::equal(norm_rope(x, weight, rope, kEps), results[0]));
        return results;
      };
      const std::vector<at::Tensor> want = run(at::kDouble);
      for (const auto& [type, bound] :
           {std::pair{at::kFloat, 2e-6}, {at::kBFloat16, 1e-2}, {at::kHalf, 1e-3}}) {
        const std::vector<at::Tensor> got = run(type);
        for (size_t i = 0; i < want.size(); ++i)
          EXPECT_LT(error(got[i], want[i]), bound) << "result " << i << " in " << type;
        const ComposedAttentionGuard composed;
        const std::vector<at::Tensor> again = run(type);
        for (size_t i = 0; i < want.size(); ++i)
          EXPECT_LT(error(again[i], want[i]), bound) << "composed, " << i << " in " << type;
      }
    }
  }
}

TEST(NormRope, TakesAnyStridesAndTypesOfWeights) {
  const Layer layer;
  for (const auto type : {at::kFloat, at::kDouble}) {  // double is composed
    const at::Tensor x = layer.x.to(type), weight = layer.weight.to(type);
    const at::Tensor want = norm_rope(x, weight, layer.rope, kEps);
    const auto same = [&](const at::Tensor& got) { return error(got, want) < 1e-14; };
    const at::Tensor heads_first = x.transpose(1, 2).contiguous().transpose(1, 2);
    EXPECT_TRUE(same(norm_rope(heads_first, weight, layer.rope, kEps)));
    const at::Tensor channels_first = x.permute({3, 2, 1, 0}).contiguous().permute({3, 2, 1, 0});
    EXPECT_TRUE(same(norm_rope(channels_first, weight, layer.rope, kEps)));
    EXPECT_TRUE(at::equal(norm_rope(channels_first, {}, layer.rope, kEps),
                          norm_rope(x, {}, layer.rope, kEps)));
    const at::Tensor packed = at::stack({x, x}, 2).flatten(2, 3).slice(2, 0, kHeads);
    EXPECT_TRUE(same(norm_rope(packed, weight, layer.rope, kEps)));
    EXPECT_TRUE(same(norm_rope(x, weight.to(at::kBFloat16), layer.rope, kEps)));
    EXPECT_TRUE(
        at::equal(norm_rope(x, weight, layer.rope.slice(0, 0, 1).expand({kTokens, kDim / 2}), kEps)
                      .slice(1, 0, 1),
                  want.slice(1, 0, 1)));
    const at::Tensor column = x.select(3, 0).unsqueeze(3);  // head_dim 1, strides of 10
    EXPECT_TRUE(at::equal(norm_rope(column, weight.slice(0, 0, kHeads), {}, kEps),
                          norm_rope(column.clone(), weight.slice(0, 0, kHeads), {}, kEps)));
  }
}

TEST(NormRope, GradientsReachStridedOperands) {
  const Layer layer;
  const auto grads = [&](at::ScalarType type) {
    const at::Tensor x = layer.x.to(type).permute({0, 2, 1, 3}).contiguous().requires_grad_();
    const at::Tensor weight = layer.weight.to(type).detach().requires_grad_();
    const at::Tensor out = norm_rope(x.permute({0, 2, 1, 3}), weight, layer.rope, kEps);
    const at::Tensor grad_out = normal({kDim, kHeads, kTokens, 2}, 4).permute({3, 2, 1, 0});
    return gradients(out, {x, weight}, grad_out);
  };
  const std::vector<at::Tensor> want = grads(at::kDouble), got = grads(at::kFloat);
  for (size_t i = 0; i < want.size(); ++i) EXPECT_LT(error(got[i], want[i]), 2e-6);
}

Projections projections(at::ScalarType type) {
  const auto draw = [&](uint64_t seed) {
    return normal({2, kTokens, kHeads, kDim}, seed).to(type);
  };
  return {.q = draw(1),
          .k = draw(2),
          .v = draw(3),
          .norm_q = normal({kHeads * kDim}, 4).to(type),
          .norm_k = normal({kHeads * kDim}, 5).to(type),
          .rope = angles(),
          .eps = kEps};
}

TEST(NormRopeWrite, FillsTheSlotsOfACache) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const Projections p = projections(type);
    for (const MonarchOptions& tiling :
         {MonarchOptions{}, MonarchOptions{.f_tied = 2, .h_reduce = 2, .w_reduce = 3}}) {
      const at::Tensor k_cache = at::full({2, 3 * kTokens, kHeads, kDim}, 7, p.k.options());
      const at::Tensor v_cache = k_cache.clone();
      const auto slots = [](const at::Tensor& t) { return t.slice(1, kTokens, 2 * kTokens); };
      const at::Tensor q = norm_rope_write(p, kGrid, tiling, slots(k_cache), slots(v_cache));
      EXPECT_TRUE(at::equal(q, p.rotated_q()));
      EXPECT_TRUE(at::equal(slots(k_cache), to_block_order(p.rotated_k(), kGrid, tiling)));
      EXPECT_TRUE(at::equal(slots(v_cache), to_block_order(p.v, kGrid, tiling)));
      for (const at::Tensor& cache : {k_cache, v_cache}) {
        EXPECT_TRUE(cache.slice(1, 0, kTokens).eq(7).all().item<bool>());
        EXPECT_TRUE(cache.slice(1, 2 * kTokens).eq(7).all().item<bool>());
      }
    }
  }
}

TEST(NormRopeWrite, IsCounted) {
  const Projections p = projections(at::kFloat);
  const at::Tensor slots = at::empty_like(p.k);
  reset_attention_runs();
  norm_rope_write(p, kGrid, {}, slots, slots.clone());
  ASSERT_EQ(attention_runs().size(), 1U);
  EXPECT_EQ(attention_runs()[0].op, "norm-rope-write");
  EXPECT_TRUE(attention_runs()[0].implementation.starts_with("cpu-"));
}

TEST(NormRopeWrite, ChangesWhatGraphsSaved) {
  // A graph that saved the slots must notice that they were overwritten.
  const Projections p = projections(at::kFloat);
  const at::Tensor slots = at::ones_like(p.k), leaf = at::ones_like(p.k).requires_grad_();
  const at::Tensor product = leaf * slots;
  norm_rope_write(p, kGrid, {}, slots, slots.clone());
  EXPECT_THROW(product.sum().backward(), c10::Error);
}

TEST(NormRope, SaysWhatIsWrong) {
  const Layer layer;
  const auto message = [&](const at::Tensor& weight, const at::Tensor& rope) {
    try {
      norm_rope(layer.x, weight, rope, kEps);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message(layer.weight.slice(0, 1), layer.rope),
            "[monarch_ops] norm_rope needs a weight of 30 channels for x [2, 48, 3, 10]");
  EXPECT_EQ(message(layer.weight, layer.rope.slice(0, 1)),
            "[monarch_ops] norm_rope needs complex rope of shape [48, 5] for x [2, 48, 3, 10]");
}

}  // namespace
}  // namespace monarch::ops
