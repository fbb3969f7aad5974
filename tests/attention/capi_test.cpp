#include "monarch/attention/capi.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "monarch/attention/reference/monarch_backward.h"
#include "monarch/attention/reference/monarch_forward.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {
namespace {

constexpr int kHeads = 2;
constexpr int kDim = 8;

monarch_tensor c_tensor(Tensor& tensor) {
  const std::vector<std::int64_t>& shape = tensor.shape();
  return monarch_tensor_contiguous(tensor.view().data, MONARCH_DTYPE_F32, shape[0], shape[1],
                                   shape[2], shape[3]);
}

struct Call {
  Tensor q = random_tensor({1, 24, kHeads, kDim}, DType::kF32, 1);
  Tensor k = random_tensor({1, 36, kHeads, kDim}, DType::kF32, 2);
  Tensor v = random_tensor({1, 36, kHeads, kDim}, DType::kF32, 3);
  Tensor out{{1, 24, kHeads, kDim}, DType::kF32};
  std::vector<float> lse = std::vector<float>(24 * kHeads);
  std::vector<std::byte> workspace;
  monarch_attention_args args;

  Call() {
    monarch_attention_args_init(&args);
    args.num_heads = kHeads;
    args.head_dim = kDim;
    args.q_frames = 2;
    args.kv_frames = 3;
    args.height = 3;
    args.width = 4;
    args.num_threads = 2;
    args.q = c_tensor(q);
    args.k = c_tensor(k);
    args.v = c_tensor(v);
    args.out = c_tensor(out);
    args.lse = lse.data();
  }
  monarch_status forward() {
    size_t bytes = 0;
    const monarch_status status = monarch_attention_workspace_bytes(&args, &bytes);
    if (status != MONARCH_OK) return status;
    workspace.resize(bytes);
    args.workspace = workspace.data();
    args.workspace_bytes = bytes;
    return monarch_attention_forward(&args);
  }
};

const MonarchProblem kProblem{
    .num_heads = kHeads, .head_dim = kDim, .q_frames = 2, .kv_frames = 3, .height = 3, .width = 4};

TEST(Capi, ForwardAndBackwardMatchTheReference) {
  Call call;
  ASSERT_EQ(call.forward(), MONARCH_OK) << monarch_last_error();
  Tensor want(call.q.shape(), DType::kF64);
  reference::monarch_forward(kProblem, read_only(call.q.view()), read_only(call.k.view()),
                             read_only(call.v.view()), want.view());
  EXPECT_LE(relative_error(call.out, want), 3e-6);

  Tensor grad_out = random_tensor(call.q.shape(), DType::kF32, 4);
  std::vector<Tensor> got{Tensor(call.q.shape(), DType::kF32), Tensor(call.k.shape(), DType::kF32),
                          Tensor(call.k.shape(), DType::kF32)};
  std::vector<Tensor> expected = got;
  call.args.grad_out = c_tensor(grad_out);
  call.args.grad_q = c_tensor(got[0]);
  call.args.grad_k = c_tensor(got[1]);
  call.args.grad_v = c_tensor(got[2]);
  size_t bytes = 0;
  ASSERT_EQ(monarch_attention_backward_workspace_bytes(&call.args, &bytes), MONARCH_OK);
  call.workspace.resize(bytes);
  call.args.workspace = call.workspace.data();
  call.args.workspace_bytes = bytes;
  ASSERT_EQ(monarch_attention_backward(&call.args), MONARCH_OK) << monarch_last_error();
  reference::monarch_backward(kProblem, read_only(call.q.view()), read_only(call.k.view()),
                              read_only(call.v.view()), read_only(grad_out.view()),
                              expected[0].view(), expected[1].view(), expected[2].view());
  for (int index = 0; index < 3; ++index)
    EXPECT_LE(relative_error(got[index], expected[index]), 1e-5);
}

TEST(Capi, EveryPresetRunsAndSaysWhichImplementation) {
  Call call;
  EXPECT_EQ(std::string(monarch_attention_implementation(&call.args)).substr(0, 4), "cpu-");
  call.args.implementation = "reference";
  EXPECT_STREQ(monarch_attention_implementation(&call.args), "reference");
  EXPECT_EQ(call.forward(), MONARCH_OK);
  call.args.implementation = nullptr;
  call.args.preset = MONARCH_PRESET_DENSE;
  EXPECT_EQ(call.forward(), MONARCH_OK) << monarch_last_error();
  call.args.preset = MONARCH_PRESET_VMONARCH;
  call.args.kv_frames = 2;
  call.args.split = "(h,fw)";
  call.args.k.shape[1] = call.args.v.shape[1] = 24;
  EXPECT_EQ(call.forward(), MONARCH_OK) << monarch_last_error();
}

TEST(Capi, WritesTheCacheInBlockOrder) {
  Call call;
  call.args.f_tied = 1;
  call.args.w_reduce = 2;
  Tensor fresh = random_tensor({1, 12, kHeads, kDim}, DType::kF32, 5);
  const monarch_tensor new_tokens = c_tensor(fresh);
  ASSERT_EQ(monarch_attention_write_cache(&call.args, &new_tokens, 12, &call.args.k), MONARCH_OK);
  const BlockLayout layout{.height = 3, .width = 4, .w_reduce = 2};
  constexpr std::int64_t kRow = kHeads * kDim;
  EXPECT_EQ(call.k.get((12 + layout.position_of_token(7)) * kRow + 3), fresh.get(7 * kRow + 3));

  const std::int64_t far = INT64_MAX / 12 * 12;
  EXPECT_EQ(monarch_attention_write_cache(&call.args, &new_tokens, far, &call.args.k),
            MONARCH_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(monarch_last_error()), "[monarch_attention] 12 tokens at position " +
                                                   std::to_string(far) +
                                                   " lie outside the cache of 36 tokens");
  monarch_tensor nothing = new_tokens;
  nothing.data = nullptr;
  EXPECT_EQ(monarch_attention_write_cache(&call.args, &nothing, 12, &call.args.k),
            MONARCH_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(monarch_last_error()),
            "[monarch_attention] the tokens or the cache have no data");
}

TEST(Capi, EveryMistakeHasAStatusAndAText) {
  const auto mistake = [](auto change) {
    Call call;
    change(call.args);
    const monarch_status status = call.forward();
    return std::to_string(status) + ' ' + monarch_last_error();
  };
  EXPECT_EQ(mistake([](auto& a) { a.w_reduce = 3; }),
            "1 [monarch_attention] width 4 is not divisible by w_reduce 3; use 1, 2 or 4");
  EXPECT_EQ(
      mistake([](auto& a) { a.size = 3; }),
      "1 [monarch_attention] args.size is 3; set the struct up with monarch_attention_args_init");
  EXPECT_EQ(mistake([](auto& a) { a.preset = static_cast<monarch_preset>(9); }),
            "1 [monarch_attention] preset is 9; use one of MONARCH_PRESET_*");
  EXPECT_EQ(mistake([](auto& a) { a.q.dtype = static_cast<monarch_dtype>(9); }),
            "1 [monarch_attention] q.dtype is 9; use one of MONARCH_DTYPE_*");
  EXPECT_EQ(mistake([](auto& a) { a.k.data = nullptr; }), "1 [monarch_attention] k has no data");
  EXPECT_EQ(mistake([](auto& a) {
              a.implementation = "cpu-generic";
              a.head_dim = 257;
            }),
            "2 [monarch_attention] cpu-generic takes head_dim up to 256, not 257");
  EXPECT_EQ(mistake([](auto& a) { a.preset = MONARCH_PRESET_VMONARCH; }),
            "1 [monarch_attention] vmonarch takes as many query frames as key frames; got 2 and 3");
  EXPECT_EQ(mistake([](auto& a) {
              a.preset = MONARCH_PRESET_VMONARCH;
              a.kv_frames = 2;
              a.kv_block_order = 1;
            }),
            "1 [monarch_attention] vmonarch cannot read a KV cache in block order: its one "
            "factorisation covers the "
            "whole video; use monarchrt or dense");
  EXPECT_EQ(mistake([](auto& a) {
              a.preset = MONARCH_PRESET_VMONARCH;
              a.kv_frames = 2;
              a.block_causal_size = 12;
            }),
            "1 [monarch_attention] vmonarch has no causal form; set block_causal_size to 0");
  EXPECT_EQ(monarch_attention_forward(nullptr), MONARCH_INVALID_ARGUMENT);
  EXPECT_STREQ(monarch_last_error(), "[monarch_attention] the arguments are a null pointer");
  Call call;
  EXPECT_EQ(monarch_attention_workspace_bytes(&call.args, nullptr), MONARCH_INVALID_ARGUMENT);
  EXPECT_STREQ(monarch_last_error(), "[monarch_attention] bytes is a null pointer");
  EXPECT_EQ(monarch_attention_write_cache(&call.args, nullptr, 0, nullptr),
            MONARCH_INVALID_ARGUMENT);
  call.args.workspace_bytes = 10;
  call.args.workspace = call.lse.data();
  EXPECT_EQ(monarch_attention_forward(&call.args), MONARCH_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(monarch_last_error()).substr(0, 56),
            "[monarch_attention] the workspace has 10 bytes; this pla");
}

}  // namespace
}  // namespace monarch::attention::test
