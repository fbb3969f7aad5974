// Parameters on their way through training: gradients, their exchange between ranks, clipping,
// AdamW, and the average. Whole on every rank, or in pieces where the team shards.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>

#include "monarch/models/wan/dit_weights.h"
#include "monarch/training/adamw.h"
#include "monarch/training/ema.h"
#include "monarch/training/sharded_parameters.h"
#include "monarch/training/team.h"

namespace monarch::training {

struct UpdateOptions {
  double lr = 2e-6;
  AdamWOptions adamw = {.beta1 = 0.0, .beta2 = 0.999, .weight_decay = 0.01, .decay_vectors = true};
  double max_grad_norm = 10.0;
};

class TrainedNetwork {
 public:
  // Updates `parameters` in place and makes them require gradients; a team that shards keeps its
  // pieces of them instead. `team` must outlive it.
  TrainedNetwork(models::TensorMap parameters, UpdateOptions options, const Team& team);

  // What a model is made of: all tensors; or those outside the layers, and where layers come from.
  const models::TensorMap& parameters() const;
  std::shared_ptr<models::LayerSource> layers() const { return sharded_; }

  // From the gradients that backward passes left: their mean over the team, clipped, then AdamW.
  // Clears them. Returns the norm before clipping; if that is not finite, nothing is updated.
  double update();

  // The average of what this rank updates.
  Ema start_average(double decay) const { return Ema(updated(), decay); }
  void update(Ema& ema) const { ema.update(updated()); }
  void restart(Ema& ema) const { ema.load(updated()); }

  // For saving, by the tensors' names: parameters, the optimizer's state, an average. Where the
  // team shards they are collective, and empty on all but the first rank.
  models::TensorMap saved_parameters() const { return whole(updated()); }
  models::TensorMap saved_optimizer() const;
  models::TensorMap saved(const Ema& ema) const { return whole(ema.average()); }
  // The reverse. Throw if a tensor is missing or has another shape.
  void load(const models::TensorMap& parameters, const models::TensorMap& optimizer);
  void load(Ema& ema, const models::TensorMap& average) const;

 private:
  // The tensors that this rank updates: parameters, or pieces of units.
  const models::TensorMap& updated() const;
  models::TensorMap whole(const models::TensorMap& updated) const;
  models::TensorMap part(const models::TensorMap& whole, const std::string& what) const;

  std::shared_ptr<ShardedParameters> sharded_;  // where the team shards
  models::TensorMap parameters_;                // where it does not
  UpdateOptions options_;
  const Team& team_;
  AdamW adamw_;
};

// Copies `tensors` into those of the same names in `into`; throws naming `what` if one is missing
// or has another shape.
void copy_into(const models::TensorMap& into, const models::TensorMap& tensors,
               const std::string& what);

}  // namespace monarch::training
