// Diffusion training on given videos: bidirectional finetuning, and causal initialisation, which
// takes the place of ODE regression before Self-Forcing.
#pragma once

#include "monarch/training/ema.h"
#include "monarch/training/losses/flow_matching.h"
#include "monarch/training/networks.h"
#include "monarch/training/recipe.h"
#include "monarch/training/trained_network.h"

namespace monarch::training {

struct EmaOptions {
  double decay = 0.99;  // 0: no average
  int64_t start_step = 200;
};

struct DiffusionOptions {
  NoiseLevels levels;
  double timestep_shift = 5.0;
  UpdateOptions update;
  EmaOptions ema;
  int64_t accumulation = 1;  // batches of one update
};

// One iteration:
//   loss of `accumulation` batches, AdamW, EMA; the EMA starts again when ema.start_step is reached
class DiffusionRecipe : public IterativeRecipe {
 public:
  DiffusionRecipe(const models::WanConfig& config, bool causal, models::TensorMap parameters,
                  DiffusionOptions options, const Team& team);

  // At the present parameters; the noise level and noise are drawn.
  FlowMatchingTerms loss(const Batch& batch, Draws& draws) const;

  Metrics iterate(int64_t step, BatchSource& batches, Draws& draws) override;
  models::TensorMap state() const override;
  void load_state(const models::TensorMap& state) override;

  const models::TensorMap& parameters() const { return trained_.parameters(); }
  const Ema& average() const { return ema_; }

 private:
  DiffusionOptions options_;
  TrainedNetwork trained_;
  VideoGenerator generator_;
  Ema ema_;
  sampling::FlowMatchSchedule schedule_;
};

}  // namespace monarch::training
