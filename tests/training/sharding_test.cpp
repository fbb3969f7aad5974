// Parameters in pieces over processes, and videos that processes make together: the same training
// as in one. Part of a program that forks before it has threads.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/models/wan/generator_checkpoint.h"
#include "monarch/models/wan/tensors.h"
#include "monarch/models/wan/wan_names.h"
#include "monarch/training/checkpoint.h"
#include "monarch/training/offloaded_layers.h"
#include "monarch/training/process_team.h"
#include "monarch/training/run_folder.h"
#include "tests/parallel/processes.h"
#include "tests/training/team_recipes.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;
using parallel::Communicator;
using parallel::test::Ended;
using parallel::test::in_processes;
using test::diffusion;
using test::SampleDraws;
using test::Samples;
using test::tiny;
using test::updates;
using test::weights;

using MakeRecipe = std::unique_ptr<IterativeRecipe> (*)(const Team&);

struct Processes {
  int size = 1;
  ShardingStrategy sharding = ShardingStrategy::kNone;
  int64_t node = 1;
  int64_t sequence = 1;

  TeamOptions options() const {
    return {.sharding = sharding, .local_size = node, .sequence = sequence, .compute = at::kDouble};
  }
};

class ShardingTest : public ::testing::TestWithParam<MakeRecipe> {
 protected:
  ShardingTest()
      : folder_(fs::temp_directory_path() / ("monarch_sharding_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~ShardingTest() override { fs::remove_all(folder_); }

  // Three iterations; the state, the last metrics (losses as the mean over ranks).
  models::TensorMap trained(const Processes& processes) const {
    const fs::path file = folder_ / "state.safetensors";
    fs::remove(file);
    const auto ended = in_processes(processes.size, [&](Communicator& group) -> std::string {
      const at::AutoGradMode gradients(true);
      const ProcessTeam team(group, processes.options());
      const auto recipe = GetParam()(team);
      Samples samples(team);
      SampleDraws draws(samples);
      Metrics metrics;
      for (int64_t step = 0; step < 3; ++step) metrics = recipe->iterate(step, samples, draws);
      models::TensorMap state = recipe->state();
      for (const auto& [name, value] : metrics) {
        at::Tensor mean = at::full({1}, value / processes.size, at::kDouble);
        group.all_reduce(mean);
        state["metric." + name] = mean;
      }
      if (team.leads()) save_tensors(file, state);
      return "done";
    });
    for (const Ended& one : ended) EXPECT_EQ(one.message, "done");
    return load_tensors(file).tensors;
  }

  fs::path folder_;
};

void expect_close(const models::TensorMap& got, const models::TensorMap& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, tensor] : want) {
    const double scale = std::max(1e-3, tensor.to(at::kDouble).norm().item<double>());
    const double error = (got.at(name) - tensor).to(at::kDouble).norm().item<double>() / scale;
    EXPECT_LT(error, 1e-6) << name;
  }
}

TEST_P(ShardingTest, TrainsAsOneProcessDoes) {
  const models::TensorMap alone = trained({.size = 1});
  for (const Processes& processes :
       {Processes{2, ShardingStrategy::kFull}, Processes{4, ShardingStrategy::kFull},
        Processes{4, ShardingStrategy::kHybridFull, 2},
        Processes{4, ShardingStrategy::kHybridZero2, 2}, Processes{2, ShardingStrategy::kNone},
        Processes{2, ShardingStrategy::kNone, 1, 2}, Processes{4, ShardingStrategy::kNone, 1, 2},
        Processes{2, ShardingStrategy::kFull, 2, 2},
        Processes{4, ShardingStrategy::kHybridFull, 2, 2}}) {
    SCOPED_TRACE(str_cat(processes.size, " processes, strategy ",
                         static_cast<int>(processes.sharding), ", nodes of ", processes.node,
                         ", videos of ", processes.sequence));
    expect_close(trained(processes), alone);
  }
}

// A state goes from any number of processes to any other, bit for bit.
TEST_P(ShardingTest, StateFitsAnyNumberOfProcesses) {
  const models::TensorMap saved = trained({.size = 1});
  const fs::path file = folder_ / "copy.safetensors";
  for (const Processes& processes :
       {Processes{2, ShardingStrategy::kFull}, Processes{4, ShardingStrategy::kHybridFull, 2}}) {
    in_processes(processes.size, [&](Communicator& group) -> std::string {
      const at::AutoGradMode gradients(true);
      const ProcessTeam team(group, processes.options());
      const auto recipe = GetParam()(team);
      recipe->load_state(saved);
      const models::TensorMap state = recipe->state();
      if (team.rank() == 0) save_tensors(file, state);
      return "";
    });
    const models::TensorMap copy = load_tensors(file).tensors;
    for (const auto& [name, tensor] : saved) {
      if (name.starts_with("metric.")) continue;
      EXPECT_TRUE(tensor.equal(copy.at(name))) << name;
    }
    fs::remove(file);
  }
}

INSTANTIATE_TEST_SUITE_P(Training, ShardingTest,
                         ::testing::Values(&test::diffusion, &test::checkpointed_diffusion,
                                           &test::distillation),
                         [](const auto& info) {
                           return info.index == 0   ? "diffusion"
                                  : info.index == 1 ? "checkpointed"
                                                    : "dmd";
                         });

// Layers in bfloat16 over float32 pieces, against whole float32 weights that layers convert.
TEST(ShardedParameters, LayersComputeInBfloat16) {
  const fs::path file =
      fs::temp_directory_path() / ("monarch_bfloat16_" + std::to_string(::getpid()));
  const auto trained = [&](ShardingStrategy sharding) {
    const auto ended = in_processes(2, [&](Communicator& group) -> std::string {
      const at::AutoGradMode gradients(true);
      const ProcessTeam team(group, {.sharding = sharding, .compute = at::kBFloat16});
      DiffusionRecipe recipe(tiny(2), /*causal=*/true,
                             cast_tensors(weights(tiny(2), 3), at::kFloat),
                             {.levels = {.by_chunk = true, .num_frame_per_block = 2},
                              .update = updates(),
                              .ema = {.decay = 0.9, .start_step = 2}},
                             team);
      Samples samples(team, at::kBFloat16);
      SampleDraws draws(samples);
      for (int64_t step = 0; step < 2; ++step) recipe.iterate(step, samples, draws);
      const models::TensorMap state = recipe.state();
      if (team.rank() == 0) save_tensors(file, state);
      return "done";
    });
    for (const Ended& one : ended) EXPECT_EQ(one.message, "done");
    return load_tensors(file).tensors;
  };
  const models::TensorMap want = trained(ShardingStrategy::kNone);
  const models::TensorMap start = cast_tensors(weights(tiny(2), 3), at::kFloat);
  for (const auto& [name, tensor] : trained(ShardingStrategy::kFull)) {
    EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
    if (!name.starts_with("generator.model.")) continue;
    const at::Tensor& first = start.at(name.substr(std::string("generator.model.").size()));
    const double moved = (want.at(name) - first).norm().item<double>();
    EXPECT_LT((tensor - want.at(name)).norm().item<double>(), 0.05 * moved + 1e-6) << name;
  }
  fs::remove(file);
}

TEST(ShardedParameters, ARankKeepsItsPart) {
  const models::WanConfig config = tiny(4);
  const auto ended = in_processes(4, [&](Communicator& group) -> std::string {
    const models::TensorMap whole = weights(config, 1);
    int64_t layers = 0;
    for (const auto& [name, tensor] : whole)
      if (name.starts_with("blocks.")) layers += tensor.numel();
    ShardedParameters sharded(whole, {.shard = &group, .compute = at::kBFloat16}, true);
    int64_t kept = 0;
    for (const auto& [name, piece] : sharded.pieces())
      if (name != "outside") kept += piece.numel();
    if (kept * 4 < layers || kept * 4 >= layers + 4 * 4) return str_cat("keeps ", kept);
    for (size_t layer : {0, 1, 2, 3, 3, 2, 1, 0}) {
      for (const auto& [name, tensor] : sharded.take(layer)) {
        if (!tensor.equal(whole.at(name).to(at::kBFloat16))) return name;
      }
    }
    return "well";
  });
  for (const Ended& one : ended) EXPECT_EQ(one.message, "well");
}

// Activations refer to a held layer's tensors, which have memory in forward and backward only.
TEST(ShardedParameters, AHeldLayerLeavesAndComesBack) {
  const models::WanConfig config = tiny(3);
  const auto ended = in_processes(2, [&](Communicator& group) -> std::string {
    const at::AutoGradMode record(true);
    const models::TensorMap whole = weights(config, 1);
    const auto sharded = std::make_shared<ShardedParameters>(
        whole, Sharding{.shard = &group, .compute = at::kDouble}, true);
    const std::string name = "blocks.1.self_attn.q.weight";
    std::vector<std::shared_ptr<models::HeldLayer>> passes;
    at::Tensor sum = at::zeros({}, at::kDouble);
    for (int pass = 0; pass < 2; ++pass) {
      passes.push_back(sharded->hold(1));
      sum = sum + passes.back()->tensors().at(name).square().sum();
      passes.back()->leave();
      if (passes.back()->tensors().at(name).storage().data() != nullptr) return "has memory";
    }
    for (const auto& held : passes) held->come_back();
    sum.backward();
    for (const auto& held : passes) {
      if (!held->tensors().at(name).grad().equal(2 * whole.at(name))) return "another gradient";
      held->gradients_are_ready();
      if (held->tensors().at(name).storage().data() != nullptr) return "still has memory";
    }
    return "well";
  });
  for (const Ended& one : ended) EXPECT_EQ(one.message, "well");
}

TEST(ShardedParameters, CheckpointsAreThoseOfOneProcess) {
  const fs::path folder =
      fs::temp_directory_path() / ("monarch_sharded_run_" + std::to_string(::getpid()));
  fs::remove_all(folder);
  const auto ended = in_processes(2, [&](Communicator& group) -> std::string {
    const at::AutoGradMode gradients(true);
    const ProcessTeam team(group, {.sharding = ShardingStrategy::kFull, .compute = at::kDouble});
    const auto recipe = diffusion(team);
    const models::TensorMap state = recipe->state();
    if (team.rank() != 0) return state.empty() ? "nothing" : "something";
    RunFolder(folder).save({.step = 1}, state, {});
    return "saved";
  });
  EXPECT_EQ(ended[0].message, "saved");
  EXPECT_EQ(ended[1].message, "nothing");
  const auto file = io::open_checkpoint(folder / "checkpoint_model_000001" / "model.safetensors");
  for (const auto which : {models::GeneratorWeights::kRaw, models::GeneratorWeights::kAveraged}) {
    const models::TensorMap saved =
        models::with_wan_names(models::to_tensors(models::generator_of(file, which)));
    for (const auto& [name, tensor] : weights(tiny(3), 3))
      EXPECT_TRUE(tensor.equal(saved.at(name))) << name;
    EXPECT_NO_THROW(models::CausalWanDit(tiny(3), saved));
  }
  fs::remove_all(folder);
}

// On the CPU layers are shared; a device without memory shows what goes to another one.
TEST(OffloadedLayers, ComeToTheDeviceOneByOne) {
  const at::NoGradGuard no_grad;
  const models::WanConfig config = tiny(3);
  const models::TensorMap whole = weights(config, 1);
  const models::DitInput input{.x = at::randn({1, 4, 4, 4, 4}, at::kDouble),
                               .t = at::full({1}, 500.0, at::kDouble),
                               .context = at::randn({1, 4, 8}, at::kDouble)};
  const auto layers = std::make_shared<OffloadedLayers>(whole, at::kCPU);
  const models::WanDit offloaded(config, layers->outside(), layers);
  EXPECT_TRUE(at::equal(offloaded.forward(input), models::WanDit(config, whole).forward(input)));
  EXPECT_TRUE(
      layers->take(2).at("blocks.2.norm3.weight").is_same(whole.at("blocks.2.norm3.weight")));
  OffloadedLayers elsewhere(whole, at::kMeta);
  for (const auto& [name, tensor] : elsewhere.outside()) EXPECT_TRUE(tensor.is_meta()) << name;
  const models::TensorMap& second = elsewhere.take(1);
  EXPECT_EQ(second.size(), whole.size() - elsewhere.outside().size() - 2 * second.size());
  for (const auto& [name, tensor] : second) {
    EXPECT_TRUE(tensor.is_meta() && tensor.sizes() == whole.at(name).sizes()) << name;
    EXPECT_TRUE(whole.at(name).is_cpu());
  }
}

TEST(ProcessTeam, SaysThatRanksDoNotSplitIntoNodes) {
  const auto ended = in_processes(3, [](Communicator& group) -> std::string {
    ProcessTeam(group, {.sharding = ShardingStrategy::kHybridFull, .local_size = 2});
    return "split";
  });
  for (const Ended& one : ended)
    EXPECT_NE(one.message.find("3 processes do not split into nodes of 2; start as many on every"),
              std::string::npos)
        << one.message;
}

TEST(ProcessTeam, SaysThatRanksDoNotMakeVideosTogether) {
  const auto ended = in_processes(3, [](Communicator& group) -> std::string {
    ProcessTeam(group, {.sequence = 2});
    return "split";
  });
  for (const Ended& one : ended) {
    EXPECT_EQ(one.message,
              "[monarch_training] the number of processes 3 is not divisible by "
              "sequence_parallel_size 2; use 1 or 3");
  }
}

TEST(ProcessTeam, ThoseThatMakeAVideoTogetherHaveOneRank) {
  const auto ended = in_processes(4, [](Communicator& group) {
    const ProcessTeam team(group, {.sequence = 2});
    return str_cat(team.rank(), " of ", team.size(), team.leads() ? ", leads, " : ", ",
                   team.sequence()->rank(), " of ", team.sequence()->size());
  });
  EXPECT_EQ(ended[0].message, "0 of 2, leads, 0 of 2");
  EXPECT_EQ(ended[1].message, "0 of 2, 1 of 2");
  EXPECT_EQ(ended[2].message, "1 of 2, 0 of 2");
  EXPECT_EQ(ended[3].message, "1 of 2, 1 of 2");
}

}  // namespace
}  // namespace monarch::training
