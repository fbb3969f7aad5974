// On the CPU the same copies are made, at once.
#include "monarch/models/wan/streamed_layers.h"

#include <gtest/gtest.h>

#include "monarch/models/wan/dit.h"
#include "tests/models/support/tiny_dit.h"
#include "tests/support/message_of.h"

namespace monarch::models {
namespace {

TEST(StreamedLayers, APassComputesTheSame) {
  const at::NoGradGuard no_grad;
  WanConfig config = tiny_config();
  config.num_layers = 5;  // an odd number: the second pass begins in the other slot
  const TensorMap whole = random_weights(config);
  const auto layers = std::make_shared<StreamedLayers>(whole, at::kCPU);
  const WanDit resident(config, whole), streamed(config, layers->outside(), layers);
  for (int pass = 0; pass < 3; ++pass) {
    DitInput input = random_input(2);
    input.t = input.t.select(1, 0) + pass;
    EXPECT_TRUE(at::equal(streamed.forward(input), resident.forward(input))) << pass;
  }
}

TEST(StreamedLayers, APassOnAGpuComputesTheSame) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device, or a LibTorch without CUDA";
  const at::NoGradGuard no_grad;
  WanConfig config = tiny_config();
  config.num_layers = 5;
  const TensorMap whole = random_weights(config);
  TensorMap there;
  for (const auto& [name, tensor] : whole) there[name] = tensor.cuda();
  const auto layers = std::make_shared<StreamedLayers>(whole, at::kCUDA);
  const WanDit resident(config, there), streamed(config, layers->outside(), layers);
  DitInput input = random_input(2);
  input.t = input.t.select(1, 0).cuda();
  input.x = input.x.cuda();
  input.context = input.context.cuda();
  const at::Tensor want = resident.forward(input);
  at::Tensor got;
  for (int pass = 0; pass < 20; ++pass) got = streamed.forward(input);  // queued without a pause
  EXPECT_TRUE(at::equal(got, want));
}

TEST(StreamedLayers, TwoAreThereAtATime) {
  WanConfig config = tiny_config();
  config.num_layers = 4;
  const TensorMap whole = random_weights(config);
  StreamedLayers layers(whole, at::kCPU);
  const auto taken = [&](size_t layer) {
    const std::string name = "blocks." + std::to_string(layer) + ".ffn.0.weight";
    const TensorMap& tensors = layers.take(layer);
    EXPECT_TRUE(at::equal(tensors.at(name), whole.at(name))) << layer;
    EXPECT_FALSE(tensors.at(name).is_same(whole.at(name)));
    return tensors.at(name).data_ptr();
  };
  const void *first = taken(0), *second = taken(1);
  EXPECT_NE(first, second);
  EXPECT_EQ(taken(2), first);
  EXPECT_EQ(taken(3), second);
  EXPECT_EQ(taken(0), first);
  // Out of order, and one again.
  for (const size_t layer : {3U, 1U, 1U, 0U}) taken(layer);
}

TEST(StreamedLayers, TheRestLiesOnTheDevice) {
  const TensorMap whole = random_weights(tiny_config());
  const StreamedLayers layers(whole, at::kCPU);
  int64_t bytes = 0, outside = 0;
  for (const auto& [name, tensor] : whole) {
    const bool in_layer = name.starts_with("blocks.");
    EXPECT_EQ(layers.outside().contains(name), !in_layer) << name;
    (in_layer ? bytes : outside) += static_cast<int64_t>(tensor.nbytes());
  }
  EXPECT_EQ(layers.bytes(), bytes);
  EXPECT_GT(outside, 0);
}

TEST(StreamedLayers, HaveNoGradients) {
  StreamedLayers layers(random_weights(tiny_config()), at::kCPU);
  EXPECT_EQ(message_of([&] { layers.gradients_are_ready(1); }),
            "[monarch_models] layer 1 came from the host for a pass without gradients, and one "
            "with gradients was made");
  EXPECT_EQ(message_of([] { StreamedLayers({}, at::kCPU); }),
            "[monarch_models] there are no layers among the tensors");
}

}  // namespace
}  // namespace monarch::models
