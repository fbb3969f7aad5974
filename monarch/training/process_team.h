// A team of processes, each with its own part of every batch.
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
  int64_t local_size = 1;               // ranks of a node; consecutive ones
  at::ScalarType compute = at::kFloat;  // type of sharded layers while they run
};

class ProcessTeam : public Team {
 public:
  // `group` must outlive it. Throws if nodes are to be sharded and the ranks do not split into
  // nodes.
  explicit ProcessTeam(parallel::Communicator& group, const TeamOptions& options = {});

  int64_t rank() const override { return group_.rank(); }
  int64_t size() const override { return group_.size(); }
  void average_gradients(const models::TensorMap& parameters) const override;
  const Sharding* sharding() const override { return sharding_.shard ? &sharding_ : nullptr; }
  int64_t agree(int64_t value) const override;
  bool any(bool value) const override;

 private:
  parallel::Communicator& group_;
  std::unique_ptr<parallel::Communicator> node_, across_;
  Sharding sharding_;
};

}  // namespace monarch::training
