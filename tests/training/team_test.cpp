// Training by several processes. A program of its own: it forks before it has threads.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>

#include "monarch/io/sha256.h"
#include "monarch/training/data/batches.h"
#include "monarch/training/data/lmdb_latents.h"
#include "monarch/training/process_team.h"
#include "monarch/training/recipes/diffusion.h"
#include "monarch/training/train_loop.h"
#include "tests/parallel/processes.h"
#include "tests/training/tiny_dit.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;
using parallel::Communicator;
using parallel::test::Ended;
using parallel::test::in_processes;

std::string hash_of(const models::TensorMap& tensors) {
  io::Sha256 hash;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor whole = tensor.detach().contiguous();
    hash.update({static_cast<const std::byte*>(whole.data_ptr()), whole.nbytes()});
  }
  return hash.hex();
}

models::TensorMap two_parameters() {
  return {{"a", at::arange(6, at::kFloat).view({2, 3})}, {"b", at::ones({4})}};
}

// What a rank's backward pass would leave: b has no gradient on rank 1.
void leave_gradients(const models::TensorMap& parameters, int64_t rank) {
  parameters.at("a").mutable_grad() = at::full({2, 3}, static_cast<float>(rank + 1));
  if (rank != 1) parameters.at("b").mutable_grad() = at::full({4}, 2.0F * static_cast<float>(rank));
}

TEST(ProcessTeam, UpdatesWithTheMeanGradient) {
  for (const int size : {2, 4}) {
    const UpdateOptions options{.lr = 0.1};
    const std::vector<Ended> ended = in_processes(size, [&](Communicator& group) {
      const ProcessTeam team(group);
      TrainedNetwork network(two_parameters(), options, team);
      leave_gradients(network.parameters(), team.rank());
      network.update();
      return hash_of(network.parameters());
    });
    const Team alone;
    TrainedNetwork expected(two_parameters(), options, alone);
    double a = 0;
    double b = 0;
    for (int rank = 0; rank < size; ++rank) {
      a += rank + 1;
      b += rank == 1 ? 0 : 2 * rank;
    }
    expected.parameters().at("a").mutable_grad() = at::full({2, 3}, a / size);
    expected.parameters().at("b").mutable_grad() = at::full({4}, b / size);
    expected.update();
    for (const Ended& one : ended) EXPECT_EQ(one.message, hash_of(expected.parameters()));
  }
}

TEST(ProcessTeam, Agrees) {
  const std::vector<Ended> ended = in_processes(3, [](Communicator& group) {
    const ProcessTeam team(group);
    return std::to_string(team.agree(40 + team.rank())) +
           (team.any(team.rank() == 2) ? " yes" : " no") + (team.any(false) ? " yes" : " no");
  });
  for (const Ended& one : ended) EXPECT_EQ(one.message, "40 yes no");
}

// Trains to `iterations`; the state's hash and the place in the data.
std::string train(const Team& team, const fs::path& folder, int64_t iterations, bool resume,
                  const std::function<bool()>& stop = {}) {
  const at::AutoGradMode gradients(true);
  DiffusionRecipe recipe(
      test::tiny_dit(), /*causal=*/true,
      models::random_dit_weights(test::tiny_dit(), pipelines::seeded_generator(3)),
      {.levels = {.by_chunk = true, .num_frame_per_block = 2},
       .update = {.lr = 1e-3},
       .ema = {.decay = 0.9, .start_step = 2}},
      team);
  DataBatches batches(
      std::make_shared<test::NoiseLatents>(8, 2),
      [](std::span<const std::string> prompts) {
        return at::ones({static_cast<int64_t>(prompts.size()), 4, 8});
      },
      1, team, at::kFloat);
  RunFolder runs(folder);
  run_loop(recipe, batches, runs,
           {.iterations = iterations,
            .save_every = 2,
            .resume = resume,
            .config = {{"name", "test"}},
            .validate = {},
            .stop = stop},
           team);
  return hash_of(recipe.state()) + " " + std::to_string(batches.position());
}

class TeamRuns : public ::testing::TestWithParam<ShardingStrategy> {
 protected:
  TeamRuns() : folder_(fs::temp_directory_path() / ("monarch_team_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
  }
  ~TeamRuns() override { fs::remove_all(folder_); }

  std::string run(int size, const fs::path& logdir, int64_t iterations, bool resume) const {
    const std::vector<Ended> ended = in_processes(size, [&](Communicator& group) {
      return train(ProcessTeam(group, {.sharding = GetParam()}), logdir, iterations, resume);
    });
    for (const Ended& one : ended) {
      EXPECT_EQ(one.code, 0) << one.message;
      // Where the state is in pieces, the first rank alone has it as a whole.
      if (GetParam() == ShardingStrategy::kNone) {
        EXPECT_EQ(one.message, ended[0].message);
      }
    }
    return ended[0].message;
  }

  fs::path folder_;
};

TEST_P(TeamRuns, StayTogetherAndResumeBitForBit) {
  run(2, folder_ / "parts", 2, false);
  fs::copy(folder_ / "parts", folder_ / "whole", fs::copy_options::recursive);
  fs::copy(folder_ / "parts", folder_ / "four", fs::copy_options::recursive);
  const std::string whole = run(2, folder_ / "whole", 6, true);
  run(2, folder_ / "parts", 4, true);
  EXPECT_EQ(run(2, folder_ / "parts", 6, true), whole);
  // Four ranks have seen the same samples after half as many batches each.
  const std::string four = run(4, folder_ / "four", 3, true);
  EXPECT_EQ(four.substr(four.rfind(' ')), " 2");
}

TEST_P(TeamRuns, AKilledRankEndsTheOthersAndLosesNoCheckpoint) {
  const std::vector<Ended> ended =
      in_processes(3,
                   [&](Communicator& group) {
                     return train(ProcessTeam(group, {.sharding = GetParam()}), folder_, 9, false,
                                  [&, iterations = 0]() mutable {
                                    if (group.rank() == 1 && ++iterations == 3) ::raise(SIGKILL);
                                    return false;
                                  });
                   },
                   {.silence = std::chrono::seconds(2)});
  for (const size_t rank : {0, 2}) {
    EXPECT_EQ(ended[rank].code, 1);
    EXPECT_NE(ended[rank].message.find("rank 1 has given no sign of life"), std::string::npos)
        << ended[rank].message;
  }
  EXPECT_EQ(RunFolder(folder_).load_latest()->progress.step, 2);
  EXPECT_FALSE(run(2, folder_, 4, true).empty());
}

INSTANTIATE_TEST_SUITE_P(Training, TeamRuns,
                         ::testing::Values(ShardingStrategy::kNone, ShardingStrategy::kFull),
                         [](const auto& info) {
                           return info.param == ShardingStrategy::kNone ? "whole" : "sharded";
                         });

}  // namespace
}  // namespace monarch::training
