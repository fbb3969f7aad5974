// A build without CUDA says so.
#include "monarch/attention/cuda/launch.h"

#include <gtest/gtest.h>

#include "tests/support/message_of.h"

namespace monarch::attention::test {
namespace {

TEST(NoCuda, EveryEntryPointSaysWhatToBuild) {
  const std::string want =
      "[monarch_attention] built without CUDA kernels; configure with the preset 'cuda' or "
      "-DMONARCH_CUDA=ON";
  EXPECT_EQ(message_of([] { cuda::current_device_limits(); }), want);
  EXPECT_EQ(message_of([] { cuda::launch_monarch_forward({}, DType::kBF16, nullptr); }), want);
  EXPECT_EQ(message_of([] { cuda::launch_monarch_backward({}, DType::kBF16, nullptr); }), want);
}

}  // namespace
}  // namespace monarch::attention::test
