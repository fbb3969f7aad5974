#include "monarch/attention/cpu/operand.h"

#include <cstdint>
#include <utility>

namespace monarch::attention::cpu {
namespace {

constexpr std::size_t kLine = 64;

std::size_t padded(std::size_t floats) { return (floats + 15) / 16 * 16; }

template <typename Out, typename View>
Out convert(const View& tensor, std::string_view name) {
  MONARCH_CHECK(tensor.dtype != DType::kF64, "[monarch_attention] ", name,
                " has dtype F64; the CPU kernels take F32, BF16 or F16");
  return {tensor.data, tensor.dtype, tensor.strides[0], tensor.strides[1], tensor.strides[2]};
}

}  // namespace

Operand operand(const ConstTensorView& tensor, std::string_view name, std::int64_t batch,
                std::int64_t tokens, std::int64_t num_heads, std::int64_t head_dim) {
  check_tensor(tensor, name, batch, tokens, num_heads, head_dim);
  return convert<Operand>(tensor, name);
}

Result result(const TensorView& tensor, std::string_view name, std::int64_t batch,
              std::int64_t tokens, std::int64_t num_heads, std::int64_t head_dim) {
  check_tensor(read_only(tensor), name, batch, tokens, num_heads, head_dim);
  return convert<Result>(tensor, name);
}

void check_dtypes(Isa isa, const Operand& q, const Operand& k, const Operand& v) {
  for (const auto& [operand, name] : {std::pair(&q, "q"), std::pair(&k, "k"), std::pair(&v, "v")}) {
    MONARCH_CHECK(takes(isa, operand->dtype), "[monarch_attention] ", name, " has dtype ",
                  dtype_name(operand->dtype), "; the kernels of ", isa_name(isa),
                  " take BF16 alone: use those of ", isa_name(isa_beneath(isa)));
  }
}

void check_threads(int num_threads) {
  MONARCH_CHECK(num_threads >= 1 && num_threads <= 1024, "[monarch_attention] num_threads is ",
                num_threads, "; it must be 1 to 1024");
}

void check_head_dim(std::int64_t head_dim) {
  MONARCH_CHECK_CODE(head_dim <= kMaxHeadDim, kUnsupported, "[monarch_attention] head_dim is ",
                     head_dim, "; the CPU kernels take up to ", kMaxHeadDim);
}

std::size_t scratch_bytes(std::size_t floats, int num_threads) {
  return padded(floats) * sizeof(float) * static_cast<std::size_t>(num_threads) + kLine;
}

void check_workspace(std::span<std::byte> workspace, std::size_t bytes) {
  MONARCH_CHECK(workspace.size() >= bytes, "[monarch_attention] the workspace has ",
                workspace.size(), " bytes; this plan needs ", bytes);
}

ScratchSpace::ScratchSpace(std::span<std::byte> workspace, std::size_t floats, int num_threads)
    : floats_(padded(floats)) {
  check_workspace(workspace, scratch_bytes(floats, num_threads));
  const auto address = reinterpret_cast<std::uintptr_t>(workspace.data());
  base_ = reinterpret_cast<float*>(workspace.data() + (kLine - address % kLine) % kLine);
}

}  // namespace monarch::attention::cpu
