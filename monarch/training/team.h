// The processes that train one model together. This one trains alone; a recipe never assumes it.
//
// All members call the same functions in the same order.
#pragma once

#include <cstdint>

#include "monarch/models/wan/weights.h"

namespace monarch::training {

struct Sharding;

class Team {
 public:
  virtual ~Team() = default;
  virtual int64_t rank() const { return 0; }
  virtual int64_t size() const { return 1; }
  // Replaces the gradient of every parameter by its mean over the ranks; one that a rank does not
  // have counts as zeros there.
  virtual void average_gradients(const models::TensorMap& /*parameters*/) const {}
  // The groups that hold parameters in pieces; none: every rank has them all.
  virtual const Sharding* sharding() const { return nullptr; }
  // Rank 0's value.
  virtual int64_t agree(int64_t value) const { return value; }
  // Whether it is so on any rank.
  virtual bool any(bool value) const { return value; }
};

}  // namespace monarch::training
