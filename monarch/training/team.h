// The processes that train one model together. This one trains alone; a recipe never assumes it.
#pragma once

#include <cstdint>

#include "monarch/models/wan/weights.h"

namespace monarch::training {

class Team {
 public:
  virtual ~Team() = default;
  virtual int64_t rank() const { return 0; }
  virtual int64_t size() const { return 1; }
  // Replaces the gradient of every parameter by its mean over the ranks.
  virtual void average_gradients(const models::TensorMap& /*parameters*/) const {}
};

}  // namespace monarch::training
