// An exponential moving average of parameters: what is saved for use, because it is less noisy than
// the last step.
#pragma once

#include "monarch/models/wan/weights.h"

namespace monarch::training {

class Ema {
 public:
  Ema(const models::TensorMap& parameters, double decay);

  // average = decay * average + (1 - decay) * parameter
  void update(const models::TensorMap& parameters);
  // The same with decay min(decay, (1 + step) / (10 + step)): early steps, which know little, are
  // forgotten quickly.
  void update(const models::TensorMap& parameters, int64_t step);

  const models::TensorMap& average() const { return average_; }
  // Throws if a tensor is missing or has another shape.
  void load(const models::TensorMap& average);

 private:
  void mix(const models::TensorMap& parameters, double decay);

  double decay_;
  models::TensorMap average_;
};

}  // namespace monarch::training
