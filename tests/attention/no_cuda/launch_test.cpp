// A build without CUDA says so.
#include "monarch/attention/cuda/launch.h"

#include <gtest/gtest.h>

#include "monarch/attention/capi.h"
#include "monarch/attention/registry.h"
#include "tests/support/message_of.h"

namespace monarch::attention::test {
namespace {

const std::string kWant =
    "[monarch_attention] built without CUDA kernels; configure with the preset 'cuda' or "
    "-DMONARCH_CUDA=ON";

TEST(NoCuda, EveryEntryPointSaysWhatToBuild) {
  EXPECT_EQ(message_of([] { cuda::current_device_limits(); }), kWant);
  EXPECT_EQ(message_of([] { cuda::launch_monarch_forward({}, DType::kBF16, nullptr); }), kWant);
  EXPECT_EQ(message_of([] { cuda::launch_monarch_sm90({}, DType::kBF16, nullptr); }), kWant);
  EXPECT_EQ(message_of([] { cuda::encode_tensor_map({}, DType::kBF16); }), kWant);
  EXPECT_EQ(message_of([] { cuda::launch_step_forward({}, DType::kBF16, nullptr); }), kWant);
  EXPECT_EQ(message_of([] { cuda::launch_step_backward({}, DType::kBF16, nullptr); }), kWant);
  EXPECT_EQ(message_of([] { cuda::launch_norm_rope_gradient({}, DType::kBF16, nullptr); }), kWant);
  EXPECT_EQ(message_of([] { cuda::launch_modulate({}, DType::kBF16, nullptr); }), kWant);
  EXPECT_EQ(message_of([] { cuda::launch_modulate_gradient({}, DType::kBF16, nullptr); }), kWant);
  EXPECT_EQ(message_of([] { cuda::launch_norm_rope({}, DType::kBF16, nullptr); }), kWant);
  EXPECT_EQ(message_of([] { cuda::launch_monarch_backward({}, DType::kBF16, nullptr); }), kWant);
  const MonarchProblem problem{.head_dim = 64, .height = 2, .width = 2};
  EXPECT_EQ(message_of([&] { choose(problem, DType::kBF16, Direction::kForward, Device::kCuda); }),
            kWant);
}

TEST(NoCuda, TheCAbiSaysIt) {
  monarch_attention_args args;
  monarch_attention_args_init(&args);
  args.head_dim = 64;
  args.q.dtype = MONARCH_DTYPE_BF16;
  EXPECT_EQ(args.device, MONARCH_DEVICE_CPU);
  args.device = MONARCH_DEVICE_CUDA;
  std::size_t bytes = 0;
  EXPECT_EQ(monarch_attention_workspace_bytes(&args, &bytes), MONARCH_UNSUPPORTED);
  EXPECT_EQ(monarch_last_error(), kWant);
  for (monarch_tensor* tensor : {&args.k, &args.v, &args.out}) tensor->dtype = args.q.dtype;
  EXPECT_EQ(monarch_attention_forward(&args), MONARCH_UNSUPPORTED);
  EXPECT_EQ(monarch_last_error(), kWant);
  args.implementation = "reference";
  EXPECT_EQ(monarch_attention_forward(&args), MONARCH_INVALID_ARGUMENT);
  EXPECT_STREQ(
      monarch_last_error(),
      "[monarch_attention] reference works on the CPU, and args.device says otherwise; set "
      "it to where the tensors lie");
  args.device = static_cast<monarch_device>(7);
  EXPECT_EQ(monarch_attention_forward(&args), MONARCH_INVALID_ARGUMENT);
  EXPECT_STREQ(monarch_last_error(),
               "[monarch_attention] device is 7; use one of MONARCH_DEVICE_*");
}

}  // namespace
}  // namespace monarch::attention::test
