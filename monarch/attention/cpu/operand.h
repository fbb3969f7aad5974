// From tensor views and workspaces to what the kernels take, checked.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "monarch/attention/cpu/isa.h"
#include "monarch/attention/problem.h"

namespace monarch::attention::cpu {

inline constexpr std::int64_t kMaxHeadDim = 256;

// check_tensor, and a dtype the kernels read: F32, BF16 or F16.
Operand operand(const ConstTensorView& tensor, std::string_view name, std::int64_t batch,
                std::int64_t tokens, std::int64_t num_heads, std::int64_t head_dim);
Result result(const TensorView& tensor, std::string_view name, std::int64_t batch,
              std::int64_t tokens, std::int64_t num_heads, std::int64_t head_dim);

// That the kernels of this instruction set read the operands' dtypes: the bf16 sets take BF16
// alone.
void check_dtypes(Isa isa, const Operand& q, const Operand& k, const Operand& v);

void check_threads(int num_threads);
void check_head_dim(std::int64_t head_dim);

// Bytes for `floats` of scratch a thread, with room to align each thread's part to a cache line.
std::size_t scratch_bytes(std::size_t floats, int num_threads);

// Throws unless the workspace has so many bytes.
void check_workspace(std::span<std::byte> workspace, std::size_t bytes);

// A workspace cut into one aligned part a thread.
class ScratchSpace {
 public:
  // `floats` a multiple of 16, `base` on a cache line.
  ScratchSpace(float* base, std::size_t floats) : base_(base), floats_(floats) {}
  ScratchSpace(std::span<std::byte> workspace, std::size_t floats, int num_threads);
  float* of(int thread) const { return base_ + static_cast<std::size_t>(thread) * floats_; }

 private:
  float* base_ = nullptr;
  std::size_t floats_ = 0;
};

}  // namespace monarch::attention::cpu
