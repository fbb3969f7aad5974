// Element types of tensors on disk and in memory, and the 16-bit float conversions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace monarch {

enum class DType : std::uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kF8E5M2,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool
};

std::size_t dtype_size(DType dtype);       // bytes of one element
std::string_view dtype_name(DType dtype);  // safetensors' names: "F32", "BF16", "I64", ...
std::optional<DType> parse_dtype(
    std::string_view name);  // also "float32", "bf16", "half", ...; nullopt if unknown
bool is_floating(DType dtype);

float bf16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_bf16(float value);  // round to nearest even; NaN stays NaN
float f16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_f16(float value);  // round to nearest even; overflow gives infinity

}  // namespace monarch
