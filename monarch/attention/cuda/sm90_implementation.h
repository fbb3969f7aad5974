// The kernels for compute capability 9.0 alone as an implementation of the registry, "cuda-sm90a":
// the fused Monarch forward. Not measured on hardware yet, so nothing chooses it by itself.
#pragma once

#include "monarch/attention/registry.h"

namespace monarch::attention::cuda {

class Sm90Implementation final : public Implementation {
 public:
  std::string_view name() const override { return "cuda-sm90a"; }
  Device device() const override { return Device::kCuda; }
  std::string refusal(const Problem& problem, DType dtype, Direction direction) const override;
  std::size_t forward_workspace(const Problem& problem, int num_threads) const override;
  std::size_t backward_workspace(const Problem& problem, int num_threads) const override;
  void forward(const Problem& problem, const ForwardTensors& tensors, int num_threads,
               std::span<std::byte> workspace, const ParallelLoop& loop) const override;
  void backward(const Problem& problem, const BackwardTensors& tensors, int num_threads,
                std::span<std::byte> workspace, const ParallelLoop& loop) const override;
};

}  // namespace monarch::attention::cuda
