// The processes that train one model together. This one trains alone; a recipe never assumes it.
//
// All members call the same functions in the same order.
#pragma once

#include <cstdint>
#include <memory>

#include "monarch/models/wan/weights.h"

namespace monarch::parallel {
class Communicator;
}

namespace monarch::training {

struct Sharding;

class Team {
 public:
  virtual ~Team() = default;
  // Whose part of every batch this process has: processes that make a video together have one rank.
  virtual int64_t rank() const { return 0; }
  virtual int64_t size() const { return 1; }
  // Whether this process speaks for all: logs, and writes the run's files.
  virtual bool leads() const { return true; }
  // Those that make this process's videos together with it; none: it alone.
  virtual std::shared_ptr<parallel::Communicator> sequence() const { return nullptr; }
  // Replaces the gradient of every parameter by its mean over the ranks; one that a process does
  // not have counts as zeros there.
  virtual void average_gradients(const models::TensorMap& /*parameters*/) const {}
  // The groups that hold parameters in pieces; none: every process has them all.
  virtual const Sharding* sharding() const { return nullptr; }
  // The first process's value.
  virtual int64_t agree(int64_t value) const { return value; }
  // Whether it is so in any process.
  virtual bool any(bool value) const { return value; }
};

}  // namespace monarch::training
