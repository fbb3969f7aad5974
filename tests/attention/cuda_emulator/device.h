// The vocabulary of monarch/attention/cuda/common/device.h on the emulated block.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "monarch/base/dtype.h"
#include "tests/attention/cuda_emulator/cluster.h"

#define MONARCH_DEVICE inline
#define MONARCH_UNROLL

namespace monarch::attention::cuda::device {

using test::Block;

inline int thread_index() { return Block::current().thread(); }
inline int block_index() { return Block::current().block_index(); }
inline void barrier() { Block::current().barrier(); }

template <typename T>
T load_shared(std::uint32_t offset) {
  Block& block = Block::current();
  T value;
  block.shared().read(block.actor(), offset, &value, sizeof(T));
  return value;
}
template <typename T>
void store_shared(std::uint32_t offset, T value) {
  Block& block = Block::current();
  block.shared().write(block.actor(), offset, &value, sizeof(T));
}

template <typename T>
T shuffle_xor(T value, int mask) {
  struct Lane {
    T value;
    int mask;
    T result;
  } mine{value, mask, value};
  Block::current().warp_operation("shuffle_xor", &mine, [](const Block::Lanes& lanes) {
    for (std::size_t lane = 0; lane < 32; ++lane) {
      auto& me = *static_cast<Lane*>(lanes[lane]);
      me.result = static_cast<Lane*>(lanes[lane ^ static_cast<std::size_t>(me.mask)])->value;
    }
  });
  return mine.result;
}
inline bool any(bool predicate) {
  bool mine = predicate;
  Block::current().warp_operation("any", &mine, [](const Block::Lanes& lanes) {
    bool result = false;
    for (void* lane : lanes) result = result || *static_cast<bool*>(lane);
    for (void* lane : lanes) *static_cast<bool*>(lane) = result;
  });
  return mine;
}

void load_matrices(std::uint32_t (&r)[4], std::uint32_t offset);
void load_matrices_transposed(std::uint32_t (&r)[4], std::uint32_t offset);
std::uint32_t transposed(std::uint32_t matrix);

template <typename T>
float to_float(std::uint16_t bits) {
  return std::is_same_v<T, Bf16> ? bf16_to_f32(bits) : f16_to_f32(bits);
}

namespace detail {

// K of the product is 8 registers' worth for every 8 rows of B.
template <int kSteps>
struct Product {
  float* c = nullptr;
  const std::uint32_t* a = nullptr;  // [2 kSteps]
  const std::uint32_t* b = nullptr;  // [kSteps]
};

template <typename T, int kSteps>
void multiply_lanes(const Block::Lanes& lanes) {
  float a[16][8 * kSteps];
  float b[8 * kSteps][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const Product<kSteps>*>(lanes[static_cast<std::size_t>(lane)]);
    const int g = lane / 4;
    const int t = lane % 4;
    for (int step = 0; step < kSteps; ++step) {
      for (int half = 0; half < 2; ++half) {
        const int column = 8 * step + 2 * t + half;
        const auto element = [half](std::uint32_t word) {
          return to_float<T>(static_cast<std::uint16_t>(word >> (16 * half)));
        };
        a[g][column] = element(mine.a[2 * step]);
        a[g + 8][column] = element(mine.a[2 * step + 1]);
        b[column][g] = element(mine.b[step]);
      }
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const Product<kSteps>*>(lanes[static_cast<std::size_t>(lane)]);
    for (int entry = 0; entry < 4; ++entry) {
      const int row = lane / 4 + 8 * (entry / 2);
      const int column = lane % 4 * 2 + entry % 2;
      float sum = mine.c[entry];
      for (int inner = 0; inner < 8 * kSteps; ++inner) sum += a[row][inner] * b[inner][column];
      mine.c[entry] = sum;
    }
  }
}

}  // namespace detail

template <typename T>
void multiply(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  detail::Product<2> mine{c, a, b};
  Block::current().warp_operation("multiply 16x8x16", &mine, detail::multiply_lanes<T, 2>);
}
template <typename T>
void multiply(float (&c)[4], const std::uint32_t (&a)[2], std::uint32_t b) {
  detail::Product<1> mine{c, a, &b};
  Block::current().warp_operation("multiply 16x8x8", &mine, detail::multiply_lanes<T, 1>);
}

inline void copy_async(std::uint32_t offset, const void* source, bool valid) {
  Block::current().copy_async(offset, source, valid);
}
inline void copy_async_commit() { Block::current().copy_async_commit(); }
template <int kInFlight>
void copy_async_wait() {
  Block::current().copy_async_wait(kInFlight);
}

inline float exp2(float x) { return std::exp2(x); }
inline float log2(float x) { return std::log2(x); }
inline float square_root(float x) { return std::sqrt(x); }

template <typename T>
std::uint32_t pack(float low, float high) {
  const auto bits = [](float value) -> std::uint32_t {
    return std::is_same_v<T, Bf16> ? f32_to_bf16(value) : f32_to_f16(value);
  };
  return bits(low) | bits(high) << 16;
}
template <typename T>
void unpack(std::uint32_t word, float (&values)[2]) {
  values[0] = to_float<T>(static_cast<std::uint16_t>(word));
  values[1] = to_float<T>(static_cast<std::uint16_t>(word >> 16));
}

}  // namespace monarch::attention::cuda::device
