// Every error a caller of the attention room can cause, by its text.
#include "monarch/attention/problem.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "monarch/attention/reference/dense.h"
#include "monarch/attention/reference/monarch_cached.h"
#include "monarch/attention/reference/monarch_forward.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

std::string message(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

template <typename Problem>
std::string complaint(const Problem& problem) {
  return message([&] { validate(problem); });
}

MonarchProblem monarch(const std::function<void(MonarchProblem&)>& change) {
  MonarchProblem problem{.head_dim = 8, .q_frames = 3, .kv_frames = 6, .height = 30, .width = 52};
  change(problem);
  return problem;
}

TEST(MonarchProblem, NamesWhatDoesNotDivide) {
  EXPECT_EQ(complaint(monarch([](auto&) {})), "no error");
  EXPECT_EQ(
      complaint(monarch([](auto& p) { p.w_reduce = 3; })),
      "[monarch_attention] width 52 is not divisible by w_reduce 3; use 1, 2, 4, 13, 26 or 52");
  EXPECT_EQ(complaint(monarch([](auto& p) { p.h_reduce = 4; })),
            "[monarch_attention] height 30 is not divisible by h_reduce 4; use 1, 2, 3, 5, 6, 10, "
            "15 or 30");
  EXPECT_EQ(complaint(monarch([](auto& p) { p.f_tied = 2; })),
            "[monarch_attention] q_frames 3 is not divisible by f_tied 2; use 1 or 3");
  EXPECT_EQ(complaint(monarch([](auto& p) {
              p.f_tied = 3;
              p.kv_frames = 7;
            })),
            "[monarch_attention] kv_frames 7 is not divisible by f_tied 3; use 1");
}

TEST(MonarchProblem, NamesSizesOutOfRange) {
  EXPECT_EQ(complaint(monarch([](auto& p) { p.head_dim = 0; })),
            "[monarch_attention] head_dim is 0; it must be at least 1");
  EXPECT_EQ(complaint(monarch([](auto& p) { p.num_iters = 0; })),
            "[monarch_attention] num_iters is 0; it must be at least 1");
  EXPECT_EQ(complaint(monarch([](auto& p) { p.f_tied = -1; })),
            "[monarch_attention] f_tied is -1; it must be at least 1");
  EXPECT_EQ(complaint(monarch([](auto& p) { p.height = std::int64_t{1} << 62; })),
            "[monarch_attention] the sizes up to height 4611686018427387904 multiply to more than "
            "2^40 elements");
  EXPECT_EQ(
      complaint(monarch([](auto& p) { p.softmax_scale = -0.5; })),
      "[monarch_attention] softmax_scale is -0.5; it must be a positive number (leave it out for "
      "head_dim^-0.5)");
  EXPECT_NE(complaint(monarch(
                [](auto& p) { p.softmax_scale = std::numeric_limits<double>::infinity(); })),
            "no error");
}

TEST(MonarchProblem, NamesWrongCausalSizes) {
  const auto causal = [](std::int64_t size, std::int64_t iters = 1, std::int64_t q_frames = 6) {
    return monarch([=](auto& p) {
      p.block_causal_size = size;
      p.num_iters = iters;
      p.q_frames = q_frames;
    });
  };
  EXPECT_EQ(complaint(causal(3 * 1560)), "no error");
  EXPECT_EQ(complaint(causal(-1)),
            "[monarch_attention] block_causal_size is -1; it is a number of tokens, 0 for no mask");
  EXPECT_EQ(complaint(causal(1560, 1, 3)),
            "[monarch_attention] a block-causal mask needs as many query frames as key frames; got "
            "3 and 6");
  EXPECT_EQ(complaint(causal(1560, 2)),
            "[monarch_attention] block-causal attention is defined for num_iters 1; got 2");
  EXPECT_EQ(complaint(causal(1000)),
            "[monarch_attention] block_causal_size 1000 is not a multiple of the block's 1560 "
            "tokens (30 x 52); use "
            "1560 times the number of blocks in a causal block");
  EXPECT_TRUE(complaint(causal(4 * 1560))
                  .starts_with("[monarch_attention] the token count 9360 is not divisible by "
                               "block_causal_size 6240; use 1, 2, 3, "));
}

TEST(CacheWrite, NamesWrongRanges) {
  const MonarchProblem problem = monarch([](auto& p) {
    p.kv_block_order = true;
    p.f_tied = 3;
  });
  const auto with = [&](std::int64_t start, std::int64_t end) {
    return message([&] { validate(problem, CacheWrite{start, end}); });
  };
  EXPECT_EQ(with(4680, 9360), "no error");
  EXPECT_EQ(with(4680, 14040),
            "[monarch_attention] the cache write covers positions 4680..14040; it must be a "
            "non-empty range within the "
            "cache's 9360 tokens");
  EXPECT_NE(with(4680, 4680), "no error");
  EXPECT_NE(with(-4680, 4680), "no error");
  EXPECT_EQ(with(1560, 6240),
            "[monarch_attention] the cache write covers positions 1560..6240; both must be "
            "multiples of f_tied * "
            "height * width = 4680");
  MonarchProblem token_order = problem;
  token_order.kv_block_order = false;
  EXPECT_EQ(message([&] {
              validate(token_order, CacheWrite{0, 4680});
            }),
            "[monarch_attention] a Monarch KV cache lies in block order; set kv_block_order");
}

TEST(DenseProblem, NamesWrongSizes) {
  DenseProblem problem{.head_dim = 8, .q_tokens = 10, .kv_tokens = 12};
  EXPECT_EQ(complaint(problem), "no error");
  EXPECT_EQ(message([&] {
              validate(problem, CacheWrite{4, 13});
            }),
            "[monarch_attention] the cache write covers positions 4..13; it must be a non-empty "
            "range within the "
            "cache's 12 tokens");
  problem.block_causal_size = 5;
  EXPECT_EQ(complaint(problem),
            "[monarch_attention] a block-causal mask needs as many queries as keys; got 10 and 12");
  problem.q_tokens = 12;
  EXPECT_EQ(complaint(problem),
            "[monarch_attention] the token count 12 is not divisible by block_causal_size 5; use "
            "1, 2, 3, 4, 6 or 12");
  problem.block_causal_size = -5;
  EXPECT_EQ(complaint(problem),
            "[monarch_attention] block_causal_size is -5; it is a number of tokens, 0 for no mask");
  problem.kv_tokens = 0;
  EXPECT_EQ(complaint(problem), "[monarch_attention] kv_tokens is 0; it must be at least 1");
}

TEST(VMonarchProblem, NamesWrongOptions) {
  VMonarchProblem problem{.head_dim = 8, .frames = 6, .height = 2, .width = 3};
  EXPECT_EQ(complaint(problem), "no error");
  problem.frames_per_factor = 4;
  EXPECT_EQ(
      complaint(problem),
      "[monarch_attention] frames 6 is not divisible by frames_per_factor 4; use 1, 2, 3 or 6");
  problem.frames_per_factor = 2;
  problem.split = Split::kFrameRowsXCols;
  EXPECT_EQ(complaint(problem),
            "[monarch_attention] frames_per_factor 2 needs the split f,hw; other splits take 1");
  problem.frames_per_factor = 1;
  problem.c_r_min = 0;
  EXPECT_EQ(complaint(problem),
            "[monarch_attention] c_r_min is 0; it must be a positive number (0.1 is the published "
            "value)");
  EXPECT_EQ(parse_split("(h, fw)"), Split::kRowsXFrameCols);
  EXPECT_EQ(parse_split("f,hw"), Split::kFramesXPixels);
  EXPECT_EQ(message([] { parse_split("fh2,w"); }),
            "[monarch_attention] 'fh2,w' is not an aligned split of frames f, rows h and columns "
            "w; use fh,w  w,fh  "
            "f,hw  hw,f  fw,h or h,fw (a split that cuts through one of the coordinates "
            "approximates video attention "
            "several times worse)");
}

TEST(Tensors, NameWhatIsWrongWithThem) {
  const DenseProblem problem{.head_dim = 8, .q_tokens = 4, .kv_tokens = 5};
  Tensor q({1, 4, 1, 8}, DType::kF32);
  Tensor k({1, 5, 1, 8}, DType::kF32);
  Tensor v({1, 5, 1, 8}, DType::kF32);
  Tensor out({1, 4, 1, 8}, DType::kF32);
  const auto forward = [&](const ConstTensorView& k_view) {
    return message([&] {
      reference::dense_forward(problem, read_only(q.view()), k_view, read_only(v.view()),
                               out.view());
    });
  };
  EXPECT_EQ(forward(read_only(k.view())), "no error");
  EXPECT_EQ(forward(read_only(q.view())),
            "[monarch_attention] k has shape [1, 4, 1, 8]; expected [batch, tokens, heads, "
            "head_dim] = [1, 5, 1, 8]");
  ConstTensorView bad = read_only(k.view());
  bad.strides[3] = 2;
  EXPECT_EQ(
      forward(bad),
      "[monarch_attention] k has stride 2 along head_dim; expected 1: make head_dim contiguous");
  bad = read_only(k.view());
  bad.dtype = DType::kI32;
  EXPECT_EQ(forward(bad), "[monarch_attention] k has dtype I32; expected F64, F32, F16 or BF16");
  bad = read_only(k.view());
  bad.data = nullptr;
  EXPECT_EQ(forward(bad), "[monarch_attention] k has no data");
  bad = read_only(k.view());
  bad.strides.pop_back();
  EXPECT_EQ(forward(bad), "[monarch_attention] k has 3 strides; expected 4");
}

TEST(Reordering, NamesWhatIsWrong) {
  const BlockLayout layout{.height = 2, .width = 3, .f_tied = 2};
  const auto copy = [&](const Tensor& tokens, std::int64_t start, Tensor cache) {
    return message([&] { copy_to_block_order(layout, tokens.view(), start, cache.view()); });
  };
  const Tensor tokens({1, 12, 1, 4}, DType::kF32);
  const Tensor cache({1, 24, 1, 4}, DType::kF32);
  EXPECT_EQ(copy(tokens, 12, cache), "no error");
  EXPECT_EQ(copy(tokens, 6, cache),
            "[monarch_attention] 12 tokens at position 6 are not whole groups of f_tied * height * "
            "width = 12 tokens");
  EXPECT_EQ(copy(tokens, 24, cache),
            "[monarch_attention] 12 tokens at position 24 lie outside the cache of 24 tokens");
  EXPECT_EQ(copy(tokens, 0, Tensor({1, 24, 1, 4}, DType::kF16)),
            "[monarch_attention] reordering from F32 to F16; both sides need one dtype");
  EXPECT_EQ(copy(tokens, 0, Tensor({1, 24, 2, 4}, DType::kF32)),
            "[monarch_attention] shapes [1, 12, 1, 4] and [1, 24, 2, 4] may differ only in the "
            "number of tokens");
  EXPECT_EQ(copy(tokens, 0, Tensor({24, 4}, DType::kF32)),
            "[monarch_attention] reordering takes tensors [batch, tokens, heads, head_dim]; got "
            "[1, 12, 1, 4] and [24, 4]");
  Tensor strided = cache;
  TensorView view = strided.view();
  view.strides[3] = 2;
  EXPECT_EQ(message([&] { copy_to_block_order(layout, tokens.view(), 0, view); }),
            "[monarch_attention] head_dim must be contiguous; its strides are 1 and 2");
}

}  // namespace
}  // namespace monarch::attention::test
