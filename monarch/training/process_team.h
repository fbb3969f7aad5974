// A team of processes. Each has its own part of every batch, or shares it with those that make
// videos together with it.
#pragma once

#include <memory>
#include <string>

#include "monarch/parallel/communicator.h"
#include "monarch/training/sharded_parameters.h"
#include "monarch/training/team.h"

namespace monarch::training {

// Where parameters, gradients and optimizer state are.
enum class ShardingStrategy {
  kNone,         // no_shard: all of them on every rank
  kFull,         // full: in pieces over all ranks
  kHybridFull,   // hybrid_full: in pieces over the ranks of a node, the same on every node
  kHybridZero2,  // hybrid_zero2: the same, but layers stay whole from their first use to the update
};

// Of the originals' names; throws naming `key` and them for others.
ShardingStrategy sharding_strategy(const std::string& name, const std::string& key);

struct TeamOptions {
  ShardingStrategy sharding = ShardingStrategy::kNone;
  int64_t local_size = 1;               // processes of a node; consecutive ones
  int64_t sequence = 1;                 // processes that make a video together; consecutive ones
  at::ScalarType compute = at::kFloat;  // type of sharded layers while they run
};

class ProcessTeam : public Team {
 public:
  // `group` must outlive it. Throws if the processes do not split into nodes that are to be
  // sharded, or into those that make a video together.
  explicit ProcessTeam(parallel::Communicator& group, const TeamOptions& options = {});

  int64_t rank() const override { return group_.rank() / sequence_size_; }
  int64_t size() const override { return group_.size() / sequence_size_; }
  bool leads() const override { return group_.rank() == 0; }
  std::shared_ptr<parallel::Communicator> sequence() const override { return sequence_; }
  void average_gradients(const models::TensorMap& parameters) const override;
  const Sharding* sharding() const override { return sharding_.shard ? &sharding_ : nullptr; }
  int64_t agree(int64_t value) const override;
  bool any(bool value) const override;

 private:
  void shard(const TeamOptions& options);

  parallel::Communicator& group_;
  int64_t sequence_size_;
  std::shared_ptr<parallel::Communicator> sequence_;
  std::unique_ptr<parallel::Communicator> node_, across_;
  Sharding sharding_;
};

}  // namespace monarch::training
