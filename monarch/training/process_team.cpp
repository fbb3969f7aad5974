#include "monarch/training/process_team.h"

#include <vector>

namespace monarch::training {
namespace {

// Gradients travel together: few messages, and little memory beside them.
constexpr int64_t kBucket = int64_t{16} << 20;

void average_bucket(parallel::Communicator& group, std::vector<at::Tensor>& gradients) {
  if (gradients.empty()) return;
  std::vector<at::Tensor> flat;
  for (const at::Tensor& gradient : gradients) flat.push_back(gradient.flatten());
  at::Tensor bucket = at::cat(flat);
  group.all_reduce(bucket);
  bucket.div_(static_cast<double>(group.size()));
  int64_t at = 0;
  for (at::Tensor& gradient : gradients) {
    gradient.copy_(bucket.narrow(0, at, gradient.numel()).view(gradient.sizes()));
    at += gradient.numel();
  }
  gradients.clear();
}

}  // namespace

void ProcessTeam::average_gradients(const models::TensorMap& parameters) const {
  if (size() == 1) return;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> bucket;
  int64_t floats = 0;
  for (const auto& [name, parameter] : parameters) {
    if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter);
    bucket.push_back(parameter.grad());
    floats += parameter.numel();
    if (floats < kBucket) continue;
    average_bucket(group_, bucket);
    floats = 0;
  }
  average_bucket(group_, bucket);
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
