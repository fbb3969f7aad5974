// Muon: momentum, then each matrix's update replaced by the nearest (semi-)orthogonal matrix, by a
// few Newton-Schulz steps (https://kellerjordan.github.io/posts/muon/). Learns small transformers
// in fewer steps than AdamW, for a tenth more arithmetic a step. For hidden matrices only; AdamW
// keeps the rest.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "monarch/models/wan/weights.h"

namespace monarch::training {

struct MuonOptions {
  double momentum = 0.95;
  double weight_decay = 0.0;
  int64_t iterations = 5;
};

class Muon {
 public:
  // Takes the parameters [out, in] that `wanted` accepts by name; updates them in place.
  Muon(const models::TensorMap& parameters, const std::function<bool(const std::string&)>& wanted,
       MuonOptions options);

  // One update from the gradients, which are then cleared. The step of a matrix has the root mean
  // square 0.2 lr, like a typical one of AdamW's, whatever its shape: one learning rate serves
  // both.
  void step(double lr);

  models::TensorMap state() const;  // "momentum.<name>"
  void load_state(
      const models::TensorMap& state);  // throws if a tensor is missing or has another shape

 private:
  MuonOptions options_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_, momenta_;
};

// Nearest matrix with singular values about one (0.7 to 1.2), for a batch [N, rows, cols] with rows
// <= cols.
at::Tensor orthogonalise(const at::Tensor& matrices, int64_t iterations);

}  // namespace monarch::training
