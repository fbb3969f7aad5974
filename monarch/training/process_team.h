// A team of processes, each with a copy of the model and its own part of every batch.
#pragma once

#include "monarch/parallel/communicator.h"
#include "monarch/training/team.h"

namespace monarch::training {

class ProcessTeam : public Team {
 public:
  // `group` must outlive it.
  explicit ProcessTeam(parallel::Communicator& group) : group_(group) {}

  int64_t rank() const override { return group_.rank(); }
  int64_t size() const override { return group_.size(); }
  void average_gradients(const models::TensorMap& parameters) const override;
  int64_t agree(int64_t value) const override;
  bool any(bool value) const override;

 private:
  parallel::Communicator& group_;
};

}  // namespace monarch::training
