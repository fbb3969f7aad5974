// The CUDA kernels as an implementation of the registry, "cuda-sm80": tensors, lse and workspace in
// device memory, kernels queued on the tensors' stream. What it has no kernel for it refuses.
#pragma once

#include "monarch/attention/registry.h"

namespace monarch::attention::cuda {

class CudaImplementation final : public Implementation {
 public:
  std::string_view name() const override { return "cuda-sm80"; }
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
