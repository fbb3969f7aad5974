#include "monarch/base/dtype.h"

#include <array>
#include <bit>
#include <utility>

namespace monarch {
namespace {

struct Entry {
  DType dtype;
  std::size_t size;
  std::string_view name;
};

constexpr std::array<Entry, 12> kEntries{{{DType::kF64, 8, "F64"},
                                          {DType::kF32, 4, "F32"},
                                          {DType::kF16, 2, "F16"},
                                          {DType::kBF16, 2, "BF16"},
                                          {DType::kF8E4M3, 1, "F8_E4M3"},
                                          {DType::kF8E5M2, 1, "F8_E5M2"},
                                          {DType::kI64, 8, "I64"},
                                          {DType::kI32, 4, "I32"},
                                          {DType::kI16, 2, "I16"},
                                          {DType::kI8, 1, "I8"},
                                          {DType::kU8, 1, "U8"},
                                          {DType::kBool, 1, "BOOL"}}};

constexpr std::array<std::pair<std::string_view, DType>, 12> kAliases{{{"float64", DType::kF64},
                                                                       {"double", DType::kF64},
                                                                       {"float32", DType::kF32},
                                                                       {"f32", DType::kF32},
                                                                       {"fp32", DType::kF32},
                                                                       {"float16", DType::kF16},
                                                                       {"f16", DType::kF16},
                                                                       {"fp16", DType::kF16},
                                                                       {"half", DType::kF16},
                                                                       {"bfloat16", DType::kBF16},
                                                                       {"bf16", DType::kBF16},
                                                                       {"int64", DType::kI64}}};

const Entry& entry(DType dtype) { return kEntries[static_cast<std::size_t>(dtype)]; }

}  // namespace

std::size_t dtype_size(DType dtype) { return entry(dtype).size; }

std::string_view dtype_name(DType dtype) { return entry(dtype).name; }

std::optional<DType> parse_dtype(std::string_view name) {
  for (const Entry& candidate : kEntries) {
    if (candidate.name == name) return candidate.dtype;
  }
  for (const auto& [alias, dtype] : kAliases) {
    if (alias == name) return dtype;
  }
  return std::nullopt;
}

bool is_floating(DType dtype) { return dtype <= DType::kF8E5M2; }

float bf16_to_f32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  const std::uint32_t rounding = 0x7fffU + ((bits >> 16) & 1U);
  return static_cast<std::uint16_t>((bits + rounding) >> 16);
}

float f16_to_f32(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fU;
  const std::uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24 is exact in float
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000U | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

std::uint16_t f32_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U);  // NaN
  if (magnitude >= 0x477ff000U)
    return static_cast<std::uint16_t>(sign | 0x7c00U);  // rounds to infinity
  if (magnitude < 0x38800000U) {  // subnormal or zero: adding 0.5 aligns the mantissa and rounds it
    const float aligned = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(aligned) - 0x3f000000U));
  }
  const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

}  // namespace monarch
