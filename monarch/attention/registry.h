// Implementations of the attention operators by name, and the choice among them. There is no silent
// fallback: the name of what ran is always known to the caller.
//
//   const Implementation& kernels = choose(problem, DType::kF32);
//   LargeBuffer workspace(kernels.forward_workspace(problem, threads));  // base/large_buffer.h
//   kernels.forward(problem, {q, k, v, out}, threads, workspace.span());
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "monarch/attention/problem.h"
#include "monarch/base/parallel.h"

namespace monarch::attention {

using Problem = std::variant<DenseProblem, MonarchProblem, VMonarchProblem>;

struct ForwardTensors {
  ConstTensorView q;       // [B, Nq, H, D]
  ConstTensorView k;       // [B, Nkv, H, D]
  ConstTensorView v;       // [B, Nkv, H, D]
  TensorView out;          // [B, Nq, H, D]
  float* lse = nullptr;    // [B, H, Nq] contiguous: kept for backward(), or null
  void* stream = nullptr;  // cudaStream_t, where a GPU's kernels are queued; null: the default one
};

struct BackwardTensors {
  ConstTensorView q;
  ConstTensorView k;
  ConstTensorView v;
  ConstTensorView out;       // of the forward
  ConstTensorView grad_out;  // [B, Nq, H, D]
  TensorView grad_q;
  TensorView grad_k;
  TensorView grad_v;
  const float* lse = nullptr;  // of the same implementation's forward
  void* stream = nullptr;      // as in ForwardTensors
};

// Where an implementation works, and tensors, lse and workspace lie.
enum class Device : std::uint8_t { kCpu, kCuda };

enum class Direction { kForward, kBackward };

// Stateless and safe to share between threads.
class Implementation {
 public:
  virtual ~Implementation() = default;
  Implementation() = default;
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  virtual std::string_view name() const = 0;
  virtual Device device() const { return Device::kCpu; }
  // Why it cannot run this problem on tensors of this dtype; empty if it can. Throws if the problem
  // itself is invalid.
  virtual std::string refusal(const Problem& problem, DType dtype, Direction direction) const = 0;

  // Bytes of workspace the calls below need with so many threads.
  virtual std::size_t forward_workspace(const Problem& problem, int num_threads) const = 0;
  virtual std::size_t backward_workspace(const Problem& problem, int num_threads) const = 0;

  // The result does not depend on num_threads. `loop` runs the tasks. A GPU's have neither: they
  // queue their kernels and return.
  virtual void forward(const Problem& problem, const ForwardTensors& tensors, int num_threads,
                       std::span<std::byte> workspace,
                       const ParallelLoop& loop = parallel_for) const = 0;
  virtual void backward(const Problem& problem, const BackwardTensors& tensors, int num_threads,
                        std::span<std::byte> workspace,
                        const ParallelLoop& loop = parallel_for) const = 0;
};

// All a device can run, fastest first. On a GPU: "cuda-sm80", which in a build without CUDA refuses
// everything; MONARCH_ISA=sm90a puts "cuda-sm90a" before it, which is not measured on hardware yet.
// On the CPU: "cpu-amx" and "cpu-avx512-bf16" (BF16 tensors alone), "cpu-avx512", "cpu-avx2",
// "cpu-generic", "reference". The environment variable MONARCH_ISA, read at every call, leaves only
// that instruction set's, for what it refuses those of the one beneath it ("cpu-avx512" for the
// bf16 sets), and the reference.
std::vector<const Implementation*> implementations(Device device = Device::kCpu);

// By name; an unknown one throws with the names there are.
const Implementation& implementation(std::string_view name);

// The first that does not refuse. On the CPU the reference takes everything, slowly; on a GPU this
// may throw kUnsupported, with the reasons.
const Implementation& choose(const Problem& problem, DType dtype,
                             Direction direction = Direction::kForward,
                             Device device = Device::kCpu);

}  // namespace monarch::attention
