// The loop around a recipe's iterations: progress, metrics, checkpoints, exact resume, and a stop
// when a loss leaves its bounds.
#pragma once

#include <cstdint>
#include <functional>

#include "monarch/training/recipe.h"
#include "monarch/training/run_folder.h"
#include "monarch/training/team.h"

namespace monarch::training {

struct LoopOptions {
  int64_t iterations = 1000;  // in total, those of resumed runs included
  int64_t save_every = 50;
  bool save = true;
  bool resume = false;
  std::uint64_t seed = 0;   // 0: a random one; a resumed run keeps its own
  double loss_limit = 1e4;  // a larger loss counts as exploded
  Json config;              // kept in the checkpoints
  // Before every `validate_every`-th iteration; empty: never. Must not change the recipe.
  std::function<void(int64_t step)> validate;
  int64_t validate_every = 100;
  std::function<bool()> stop;  // polled after each iteration: true saves and returns
};

struct LoopResult {
  int64_t step = 0;  // iterations done in total
  bool stopped = false;
  Metrics last;
};

// Logs through base/log. Throws if a folder that holds checkpoints is not to be resumed, if there
// is nothing to resume, or (naming the last good checkpoint) if a loss is not finite or exceeds the
// limit.
LoopResult run_loop(IterativeRecipe& recipe, BatchSource& batches, RunFolder& folder,
                    const LoopOptions& options, const Team& team);

}  // namespace monarch::training
