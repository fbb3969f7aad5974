#include "monarch/training/checkpoint.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "monarch/base/error.h"

namespace monarch::training {
namespace {

TEST(TrainingCheckpoint, TensorsSurviveTheRoundTrip) {
  std::string pattern = (std::filesystem::temp_directory_path() / "monarch_state_XXXXXX").string();
  const std::filesystem::path folder = mkdtemp(pattern.data());
  const models::TensorMap tensors{{"a", at::randn({3, 4})},
                                  {"transposed", at::randn({3, 4}).t()},
                                  {"half", at::randn({5}).to(at::kHalf)},
                                  {"bf16", at::randn({5}).to(at::kBFloat16)},
                                  {"count", at::arange(3)},
                                  {"scalar", at::ones({})}};
  save_tensors(folder / "state.safetensors", tensors, {{"step", "7"}});
  const TrainingState state = load_tensors(folder / "state.safetensors");
  EXPECT_EQ(state.metadata.at("step"), "7");
  ASSERT_EQ(state.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(state.tensors.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(state.tensors.at(name).equal(tensor)) << name;
  }
  std::filesystem::remove_all(folder);
}

TEST(TrainingCheckpoint, PrefixesGroupNames) {
  const models::TensorMap tensors = add_prefix({{"x", at::ones({1})}}, "ema.");
  EXPECT_TRUE(tensors.contains("ema.x"));
  EXPECT_TRUE(take_prefix(tensors, "ema.").contains("x"));
  EXPECT_TRUE(take_prefix(tensors, "param.").empty());
  EXPECT_EQ(cast_tensors(tensors, at::kHalf).at("ema.x").scalar_type(), at::kHalf);
}

TEST(TrainingCheckpoint, SaysWhichTypeItCannotSave) {
  try {
    save_tensors("unused.safetensors", {{"c", at::zeros({1}, at::kComplexFloat)}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[monarch_training] cannot save tensors of type ComplexFloat");
  }
}

}  // namespace
}  // namespace monarch::training
