// The vocabulary of monarch/attention/cuda/common/device_sm90.h on the emulated cluster.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "monarch/attention/cuda/common/tensor_map.h"
#include "tests/attention/cuda_emulator/device.h"

namespace monarch::attention::cuda::device {

// What stands in for the driver.
TensorMap encode(const TensorTiles& tiles);

inline std::uint32_t shared_address(std::uint32_t offset) { return offset; }
inline int cluster_rank() { return Block::current().rank(); }
inline void cluster_barrier() { Block::current().cluster().barrier(); }
inline void barrier(int id, int threads) { Block::current().barrier(id, threads); }
template <int kRegisters>
void claim_registers() {}
template <int kRegisters>
void release_registers() {}

void mbarrier_init(std::uint32_t offset, int count);
inline void mbarrier_init_fence() {}
void mbarrier_expect(std::uint32_t offset, std::uint32_t bytes);
void mbarrier_arrive(std::uint32_t offset, int rank);
void mbarrier_wait(std::uint32_t offset, std::uint32_t parity);

void copy_tensor_to(std::uint32_t mask, std::uint32_t offset, const TensorMap& map,
                    const TensorPoint& at, std::uint32_t mbarrier);
inline void copy_tensor(std::uint32_t offset, const TensorMap& map, const TensorPoint& at,
                        std::uint32_t mbarrier) {
  copy_tensor_to(1U << cluster_rank(), offset, map, at, mbarrier);
}
inline void fence_async() { Block::current().shared().fence(Block::current().actor()); }

namespace detail {
struct AsyncProduct {
  float (*d)[4] = nullptr;
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  bool outer = false;
  bool accumulate = false;
  float (*to_float)(std::uint16_t) = nullptr;
};
void issue(AsyncProduct& product);
void wait_for_products(int in_flight);
}  // namespace detail

void products_begin();
void products_commit();
template <int kInFlight, int kMatrices>
void products_wait(float (&)[kMatrices][4]) {
  detail::wait_for_products(kInFlight);
}
template <typename T, bool kOuter>
void multiply_async(float (&d)[4], std::uint64_t a, std::uint64_t b, bool accumulate) {
  detail::AsyncProduct product{&d, a, b, kOuter, accumulate, to_float<T>};
  detail::issue(product);
}

}  // namespace monarch::attention::cuda::device
