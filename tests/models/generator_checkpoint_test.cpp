#include "monarch/models/wan/generator_checkpoint.h"

#include <gtest/gtest.h>

#include "monarch/models/wan/wan_names.h"

namespace monarch::models {
namespace {

struct Memory : io::Checkpoint {
  explicit Memory(const std::vector<std::string>& names) {
    std::vector<io::TensorEntry> tensors;
    for (const std::string& name : names) tensors.push_back({name, DType::kF32, {0}, {}});
    metadata_["step"] = "7";
    set_tensors(std::move(tensors), "memory");
  }
};

// Wan's name of the only tensor of the network that is chosen, with its stored name before it.
std::string only(const std::vector<std::string>& names, GeneratorWeights which) {
  const auto network = generator_of(std::make_shared<Memory>(names), which);
  EXPECT_EQ(network->metadata().at("step"), "7");
  if (network->tensors().size() != 1) return "not one tensor";
  const std::string stored = network->tensors()[0].name;
  return stored + " " + wan_names({stored}).at(stored);
}

TEST(GeneratorCheckpoint, ChoosesOneNetwork) {
  const std::vector<std::string> training = {
      "critic.model.head.head.bias",
      "generator.model._fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.norm3.bias",
      "generator_ema.model.blocks.0.norm3.bias"};
  EXPECT_EQ(only(training, GeneratorWeights::kRaw),
            "model._fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.norm3.bias "
            "blocks.0.norm3.bias");
  EXPECT_EQ(only(training, GeneratorWeights::kAveraged),
            "model.blocks.0.norm3.bias blocks.0.norm3.bias");
}

TEST(GeneratorCheckpoint, TakesTheOneThatIsThere) {
  const std::vector<std::string> averaged = {"critic.a", "generator_ema.head.head.bias"};
  EXPECT_EQ(only(averaged, GeneratorWeights::kRaw), "head.head.bias head.head.bias");
  const std::vector<std::string> raw = {"critic.a", "generator.head.head.bias"};
  EXPECT_EQ(only(raw, GeneratorWeights::kAveraged), "head.head.bias head.head.bias");
  EXPECT_EQ(only({"model.model._orig_mod.head.head.bias"}, GeneratorWeights::kAveraged),
            "model._orig_mod.head.head.bias head.head.bias");
  EXPECT_EQ(only({"head.head.bias"}, GeneratorWeights::kRaw), "head.head.bias head.head.bias");
}

}  // namespace
}  // namespace monarch::models
