#include "monarch/training/process_team.h"

#include <vector>

#include "monarch/base/divisors.h"
#include "monarch/base/error.h"

namespace monarch::training {
namespace {

// Gradients travel together: few messages, and little memory beside them.
constexpr int64_t kBucket = int64_t{16} << 20;

void sum_bucket(parallel::Communicator& group, std::vector<at::Tensor>& gradients, int64_t shares) {
  if (gradients.empty()) return;
  std::vector<at::Tensor> flat;
  for (const at::Tensor& gradient : gradients) flat.push_back(gradient.flatten());
  at::Tensor bucket = at::cat(flat);
  group.all_reduce(bucket);
  bucket.div_(static_cast<double>(shares));
  int64_t at = 0;
  for (at::Tensor& gradient : gradients) {
    gradient.copy_(bucket.narrow(0, at, gradient.numel()).view(gradient.sizes()));
    at += gradient.numel();
  }
  gradients.clear();
}

}  // namespace

ShardingStrategy sharding_strategy(const std::string& name, const std::string& key) {
  if (name == "no_shard") return ShardingStrategy::kNone;
  if (name == "full") return ShardingStrategy::kFull;
  if (name == "hybrid_full") return ShardingStrategy::kHybridFull;
  if (name == "hybrid_zero2") return ShardingStrategy::kHybridZero2;
  fail(ErrorCode::kInvalidArgument, "[config] ", key, " is '", name,
       "'; use full, hybrid_full, hybrid_zero2 or no_shard");
}

ProcessTeam::ProcessTeam(parallel::Communicator& group, const TeamOptions& options)
    : group_(group), sequence_size_(options.sequence) {
  check_divides("[monarch_training] ", "the number of processes", group_.size(),
                "sequence_parallel_size", sequence_size_);
  if (sequence_size_ > 1) {
    std::vector<int64_t> together;
    for (int64_t i = 0; i < sequence_size_; ++i) together.push_back(rank() * sequence_size_ + i);
    sequence_ = group_.part(together, str_cat("sequence ", rank()));
  }
  if (options.sharding != ShardingStrategy::kNone && group_.size() > 1) shard(options);
}

void ProcessTeam::shard(const TeamOptions& options) {
  const int64_t size = group_.size();
  sharding_ = {.keep_layers = options.sharding == ShardingStrategy::kHybridZero2,
               .compute = options.compute,
               .sequence = sequence_size_};
  if (options.sharding == ShardingStrategy::kFull || options.local_size == size) {
    sharding_.shard = &group_;
    return;
  }
  MONARCH_CHECK(options.local_size >= 1 && size % options.local_size == 0, "[monarch_training] ",
                size, " processes do not split into nodes of ", options.local_size,
                "; start as many on every node, or set sharding_strategy to full");
  if (options.local_size == 1) return;  // nothing to share inside a node
  const int64_t nodes = size / options.local_size;
  const int64_t node = group_.rank() / options.local_size;
  const int64_t place = group_.rank() % options.local_size;
  std::vector<int64_t> inside, across;
  for (int64_t i = 0; i < options.local_size; ++i) inside.push_back(node * options.local_size + i);
  for (int64_t i = 0; i < nodes; ++i) across.push_back(i * options.local_size + place);
  node_ = group_.part(inside, str_cat("node ", node));
  across_ = group_.part(across, str_cat("place ", place));
  sharding_.shard = node_.get();
  sharding_.replicas = across_.get();
}

void ProcessTeam::average_gradients(const models::TensorMap& parameters) const {
  if (group_.size() == 1) return;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> bucket;
  int64_t floats = 0;
  for (const auto& [name, parameter] : parameters) {
    if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter);
    bucket.push_back(parameter.grad());
    floats += parameter.numel();
    if (floats < kBucket) continue;
    sum_bucket(group_, bucket, size());
    floats = 0;
  }
  sum_bucket(group_, bucket, size());
}

int64_t ProcessTeam::agree(int64_t value) const {
  at::Tensor shared = at::full({1}, value, at::kLong);
  group_.broadcast(shared, 0);
  return shared.item<int64_t>();
}

bool ProcessTeam::any(bool value) const {
  at::Tensor count = at::full({1}, value ? 1 : 0, at::kLong);
  group_.all_reduce(count);
  return count.item<int64_t>() > 0;
}

}  // namespace monarch::training
