// The training loop: learning-rate schedule, clipping, averaging, progress, loss curve, saving,
// exact resume.
//
// A recipe is a pure function of (parameters, step): it draws data and noise from generators seeded
// by the step. The step number is therefore all the random state there is, and a resumed run
// continues bit for bit.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>

#include "monarch/models/wan/weights.h"
#include "monarch/training/adamw.h"
#include "monarch/training/muon.h"

namespace monarch::training {

class Recipe {
 public:
  virtual ~Recipe() = default;
  virtual std::string name() const = 0;
  // What is trained, under the names it is saved with. The same tensors every time.
  virtual const models::TensorMap& parameters() const = 0;
  // The scalar mean loss of one of `parts` equal parts of this step's batch, as a function of
  // `parameters` (the ones above, or leaves that share their memory). Called for several parts at
  // once, from several threads.
  virtual at::Tensor loss(const models::TensorMap& parameters, int64_t step, int64_t part,
                          int64_t parts) const = 0;
  virtual int64_t samples(int64_t step) const = 0;
};

struct TrainerOptions {
  // Folder for <recipe>.state.safetensors, <recipe>.loss.jsonl, and TensorBoard's <recipe>/.
  std::filesystem::path out;
  int64_t steps = 1000;  // total, counted over all resumed runs
  double lr = 1e-3;
  int64_t warmup = 100;     // linear from zero
  double decay_from = 0.7;  // part of the steps after which the rate falls linearly to a hundredth
  double clip = 1.0;
  double ema_decay = 0.999;
  AdamWOptions adamw;
  // Matrices that Muon updates instead of AdamW, by name; empty: none.
  std::function<bool(const std::string&)> muon;
  MuonOptions muon_options;
  // Threads, each with its own part of every batch and its own graph: they meet once a step, while
  // threads inside operators meet hundreds of times, which costs half of the time when other
  // programs run.
  int64_t workers = 2;
  // Matrix products and what follows them in bfloat16, parameters and optimizer in float32: faster
  // on CPUs with AMX.
  bool mixed_precision = false;
  bool resume = false;
  double save_every_seconds = 120;
  int64_t log_every = 20;
  // Polled after each step: true saves and returns. Empty: never.
  std::function<bool()> stop;
};

struct TrainingResult {
  int64_t step = 0;  // steps done in total
  double loss = 0;   // mean over the last logged steps
  bool stopped = false;
  models::TensorMap average;  // averaged parameters
};

// lr of a step (0-based) under the schedule above.
double scheduled_lr(const TrainerOptions& options, int64_t step);

// Trains until options.steps or a stop; logs through base/log. Throws if the loss is not finite, if
// there is nothing to resume, or if the state belongs to another recipe.
TrainingResult train(Recipe& recipe, const TrainerOptions& options);

}  // namespace monarch::training
