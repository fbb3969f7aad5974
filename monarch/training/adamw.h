// AdamW: decoupled weight decay, bias-corrected moments, epsilon after the square root; float32
// state.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "monarch/models/wan/weights.h"

namespace monarch::training {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.99;
  double eps = 1e-8;
  double weight_decay = 0.0;   // p *= 1 - lr * weight_decay
  bool decay_vectors = false;  // also parameters of one axis: norms and biases
};

class AdamW {
 public:
  // Keeps references to the parameters, which it updates in place.
  AdamW(const models::TensorMap& parameters, AdamWOptions options);

  // One update from the parameters' gradients, which are then cleared; parameters without one stay.
  void step(double lr);

  // First and second moments as "m.<name>", "v.<name>", and the number of updates as "steps".
  models::TensorMap state() const;
  // Throws if a tensor is missing or has another shape.
  void load_state(const models::TensorMap& state);

 private:
  AdamWOptions options_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_, first_, second_, counts_;
};

// Scales all gradients so that their joint 2-norm is at most `limit`; returns the norm before.
// Where ranks have different gradients, `sum_over_ranks` sums a number over them.
double clip_gradients(const models::TensorMap& parameters, double limit,
                      const std::function<double(double)>& sum_over_ranks = {});

}  // namespace monarch::training
