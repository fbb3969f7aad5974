// Parameters in pieces over processes: the same training as in one. Part of a program that forks
// before it has threads.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>

#include "monarch/base/error.h"
#include "monarch/models/wan/generator_checkpoint.h"
#include "monarch/models/wan/tensors.h"
#include "monarch/models/wan/wan_names.h"
#include "monarch/training/checkpoint.h"
#include "monarch/training/offloaded_layers.h"
#include "monarch/training/process_team.h"
#include "monarch/training/recipes/diffusion.h"
#include "monarch/training/recipes/distillation.h"
#include "monarch/training/run_folder.h"
#include "tests/parallel/processes.h"
#include "tests/training/tiny_dit.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;
using parallel::Communicator;
using parallel::test::Ended;
using parallel::test::in_processes;

constexpr int64_t kBatch = 4;  // samples of an update, over all ranks

models::WanConfig tiny(int64_t layers) {
  models::WanConfig config = test::tiny_dit();
  config.num_layers = layers;
  return config;
}

// Sample s of an update goes to rank s mod size.
class Samples : public BatchSource {
 public:
  explicit Samples(const Team& team, at::ScalarType type = at::kDouble)
      : team_(team), type_(type) {}
  Batch next() override {
    sample_ = position_++ * team_.size() + team_.rank();
    return {.context = random("context", {1, 4, 8}), .latents = random("latents", {1, 4, 4, 4, 4})};
  }
  int64_t position() const override { return position_; }
  void seek(int64_t position) override { position_ = position; }

  // A function of the present sample and `what`.
  at::Tensor random(const std::string& what, at::IntArrayRef shape) const {
    return at::randn(shape, generator(what), at::kDouble).to(type_);
  }
  at::Generator generator(const std::string& what) const {
    return pipelines::seeded_generator(std::hash<std::string>()(what) % 100'000 * 1000 +
                                       static_cast<std::uint64_t>(sample_));
  }

 private:
  const Team& team_;
  at::ScalarType type_;
  int64_t position_ = 0, sample_ = 0;
};

// What is drawn depends on the sample, not on the rank.
class SampleDraws : public Draws {
 public:
  explicit SampleDraws(const Samples& samples) : samples_(samples) {}
  at::Tensor normal(const std::string& what, const pipelines::LatentShape& s,
                    const at::TensorOptions& options) override {
    return samples_.random(what, {s.batch, s.channels, s.frames, s.height, s.width}).to(options);
  }
  at::Tensor integers(const std::string& what, int64_t low, int64_t high,
                      at::IntArrayRef shape) override {
    return at::randint(low, high, shape, samples_.generator(what), at::kLong);
  }
  at::Tensor common_integers(const std::string& what, int64_t low, int64_t high,
                             at::IntArrayRef shape) override {
    return at::randint(low, high, shape, pipelines::seeded_generator(what.size()), at::kLong);
  }

 private:
  const Samples& samples_;
};

models::TensorMap weights(const models::WanConfig& config, std::uint64_t seed) {
  models::TensorMap weights =
      models::random_dit_weights(config, pipelines::seeded_generator(seed), at::kDouble);
  weights.at("head.head.weight").normal_(0, 0.1, pipelines::seeded_generator(seed + 1));
  return weights;
}

// A large epsilon: Adam would turn a gradient's rounding into a whole step.
UpdateOptions updates() {
  UpdateOptions options{.lr = 1e-2, .max_grad_norm = 0.5};
  options.adamw = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-2, .decay_vectors = true};
  options.adamw.weight_decay = 0.1;
  return options;
}

std::unique_ptr<IterativeRecipe> diffusion(const Team& team) {
  return std::make_unique<DiffusionRecipe>(
      tiny(3), /*causal=*/true, weights(tiny(3), 3),
      DiffusionOptions{.levels = {.by_chunk = true, .num_frame_per_block = 2},
                       .update = updates(),
                       .ema = {.decay = 0.9, .start_step = 2},
                       .accumulation = kBatch / team.size()},
      team);
}

std::unique_ptr<IterativeRecipe> distillation(const Team& team) {
  models::WanConfig generator = tiny(2);
  generator.monarch = {.enable = true, .num_iters = 1};
  models::TensorMap teacher_weights = weights(tiny(3), 9);
  std::shared_ptr<ShardedParameters> pieces;
  if (team.sharding() != nullptr) {
    pieces = std::make_shared<ShardedParameters>(teacher_weights, *team.sharding(), false);
    teacher_weights = pieces->outside();
  }
  DistillationOptions options;
  options.channels = options.height = options.width = 4;
  options.simulation = {.timesteps = {1000, 500},
                        .num_frame_per_block = 2,
                        .loss_frames = 4,
                        .num_training_frames = 4};
  options.generator_every = 1;
  options.generator = options.critic = updates();
  options.ema = {.decay = 0.9, .start_step = 1};
  options.accumulation = kBatch / team.size();
  return std::make_unique<DistillationRecipe>(
      DistillationRecipe::Networks{
          .generator_config = generator,
          .causal = true,
          .generator = weights(generator, 3),
          .cache_gradient = models::CacheGradient::kStraightThrough,
          .critic_config = tiny(2),
          .critic = weights(tiny(2), 5),
          .teacher =
              score_model(std::make_shared<const models::WanDit>(tiny(3), teacher_weights, pieces),
                          std::make_shared<const sampling::FlowMatchSchedule>(
                              sampling::FlowMatchConfig::self_forcing(8.0))),
          .negative_context = at::ones({1, 4, 8}, at::kDouble),
          .latent_options = at::kDouble},
      options, team);
}

using MakeRecipe = std::unique_ptr<IterativeRecipe> (*)(const Team&);

struct Processes {
  int size = 1;
  ShardingStrategy sharding = ShardingStrategy::kNone;
  int64_t node = 1;
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
      const ProcessTeam team(
          group,
          {.sharding = processes.sharding, .local_size = processes.node, .compute = at::kDouble});
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
      if (team.rank() == 0) save_tensors(file, state);
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
        Processes{4, ShardingStrategy::kHybridZero2, 2}, Processes{2, ShardingStrategy::kNone}}) {
    SCOPED_TRACE(str_cat(processes.size, " processes, strategy ",
                         static_cast<int>(processes.sharding), ", nodes of ", processes.node));
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
      const ProcessTeam team(
          group,
          {.sharding = processes.sharding, .local_size = processes.node, .compute = at::kDouble});
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

INSTANTIATE_TEST_SUITE_P(Training, ShardingTest, ::testing::Values(&diffusion, &distillation),
                         [](const auto& info) { return info.index == 0 ? "diffusion" : "dmd"; });

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

}  // namespace
}  // namespace monarch::training
