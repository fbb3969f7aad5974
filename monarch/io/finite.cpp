#include "monarch/io/finite.h"

#include <cstring>

namespace monarch::io {
namespace {

// A float is not finite when all bits of its exponent are ones.
template <typename Bits>
std::optional<std::int64_t> find(const TensorEntry& tensor, Bits exponent) {
  const std::size_t count = tensor.bytes.size() / sizeof(Bits);
  const auto is_bad = [&](std::size_t i) {
    Bits bits;
    std::memcpy(&bits, tensor.bytes.data() + i * sizeof(Bits), sizeof(Bits));
    return (bits & exponent) == exponent;
  };
  // Whole runs first: without an exit in the loop the compiler makes vector code of it.
  constexpr std::size_t kRun = 4096;
  for (std::size_t begin = 0; begin < count; begin += kRun) {
    const std::size_t end = begin + kRun < count ? begin + kRun : count;
    bool any = false;
    for (std::size_t i = begin; i < end; ++i) any |= is_bad(i);
    for (std::size_t i = begin; any && i < end; ++i) {
      if (is_bad(i)) return static_cast<std::int64_t>(i);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> first_non_finite(const TensorEntry& tensor) {
  switch (tensor.dtype) {
    case DType::kF64: return find<std::uint64_t>(tensor, 0x7FF0000000000000);
    case DType::kF32: return find<std::uint32_t>(tensor, 0x7F800000);
    case DType::kF16: return find<std::uint16_t>(tensor, 0x7C00);
    case DType::kBF16: return find<std::uint16_t>(tensor, 0x7F80);
    case DType::kF8E5M2: return find<std::uint8_t>(tensor, 0x7C);
    case DType::kF8E4M3: return find<std::uint8_t>(tensor, 0x7F);  // NaN alone: it has no infinity
    default: return std::nullopt;
  }
}

}  // namespace monarch::io
