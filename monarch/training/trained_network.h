// Parameters on their way through training: gradients, their exchange between ranks, clipping,
// AdamW, and the average.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "monarch/models/wan/weights.h"
#include "monarch/training/adamw.h"
#include "monarch/training/ema.h"
#include "monarch/training/team.h"

namespace monarch::training {

struct UpdateOptions {
  double lr = 2e-6;
  AdamWOptions adamw = {.beta1 = 0.0, .beta2 = 0.999, .weight_decay = 0.01, .decay_vectors = true};
  double max_grad_norm = 10.0;
};

class TrainedNetwork {
 public:
  // Updates `parameters` in place and makes them require gradients. `team` must outlive it.
  TrainedNetwork(models::TensorMap parameters, UpdateOptions options, const Team& team);

  const models::TensorMap& parameters() const { return parameters_; }

  // From the gradients that backward passes left: their mean over the team, clipped, then AdamW.
  // Clears them. Returns the norm before clipping; if that is not finite, nothing is updated.
  double update();

  models::TensorMap optimizer_state() const { return adamw_.state(); }
  // Throws if a tensor is missing or has another shape.
  void load(const models::TensorMap& parameters, const models::TensorMap& optimizer);

 private:
  models::TensorMap parameters_;
  UpdateOptions options_;
  const Team& team_;
  AdamW adamw_;
};

// Copies `tensors` into those of the same names in `into`; throws naming `what` if one is missing
// or has another shape.
void copy_into(const models::TensorMap& into, const models::TensorMap& tensors,
               const std::string& what);

}  // namespace monarch::training
