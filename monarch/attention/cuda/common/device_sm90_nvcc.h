// The vocabulary of device_sm90.h as instructions of sm_90a.
#pragma once

#include <cstdint>
#include <type_traits>

namespace monarch::attention::cuda::device {

MONARCH_DEVICE int cluster_rank() {
  std::uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
}
MONARCH_DEVICE void cluster_barrier() {
  asm volatile(
      "barrier.cluster.arrive.release;\n\t"
      "barrier.cluster.wait.acquire;" ::
          : "memory");
}
MONARCH_DEVICE void barrier(int id, int threads) {
  asm volatile("barrier.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
template <int kRegisters>
MONARCH_DEVICE void claim_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
MONARCH_DEVICE void release_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

MONARCH_DEVICE void mbarrier_init(std::uint32_t offset, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(offset)), "r"(count)
               : "memory");
}
MONARCH_DEVICE void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
MONARCH_DEVICE void mbarrier_expect(std::uint32_t offset, std::uint32_t bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(offset)),
      "r"(bytes)
      : "memory");
}
MONARCH_DEVICE void mbarrier_arrive(std::uint32_t offset, int rank) {
  asm volatile(
      "{\n\t"
      ".reg .b32 there;\n\t"
      "mapa.shared::cluster.u32 there, %0, %1;\n\t"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n\t"
      "}" ::"r"(shared_address(offset)),
      "r"(rank)
      : "memory");
}
MONARCH_DEVICE void mbarrier_wait(std::uint32_t offset, std::uint32_t parity) {
  std::uint32_t ended = 0;
  while (ended == 0) {
    asm volatile(
        "{\n\t"
        ".reg .pred ended;\n\t"
        "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 ended, [%1], %2;\n\t"
        "selp.u32 %0, 1, 0, ended;\n\t"
        "}"
        : "=r"(ended)
        : "r"(shared_address(offset)), "r"(parity)
        : "memory");
  }
}

MONARCH_DEVICE void copy_tensor(std::uint32_t offset, const TensorMap& map, const TensorPoint& at,
                                std::uint32_t mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(shared_address(offset)),
      "l"(&map), "r"(at.depth), "r"(at.head), "r"(at.token), "r"(at.batch),
      "r"(shared_address(mbarrier))
      : "memory");
}
MONARCH_DEVICE void copy_tensor_to(std::uint32_t mask, std::uint32_t offset, const TensorMap& map,
                                   const TensorPoint& at, std::uint32_t mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%2, %3, %4, %5}], [%6], %7;" ::"r"(shared_address(offset)),
      "l"(&map), "r"(at.depth), "r"(at.head), "r"(at.token), "r"(at.batch),
      "r"(shared_address(mbarrier)), "h"(static_cast<std::uint16_t>(mask))
      : "memory");
}
MONARCH_DEVICE void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

MONARCH_DEVICE void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
MONARCH_DEVICE void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// The accumulators go through the statement, so that nothing reads them above it.
template <int kInFlight, int kMatrices>
MONARCH_DEVICE void products_wait(float (&d)[kMatrices][4]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kInFlight) : "memory");
  MONARCH_UNROLL
  for (int matrix = 0; matrix < kMatrices; ++matrix) {
    asm volatile(""
                 : "+f"(d[matrix][0]), "+f"(d[matrix][1]), "+f"(d[matrix][2]), "+f"(d[matrix][3])
                 :
                 : "memory");
  }
}

#define MONARCH_WGMMA(type)                                      \
  asm volatile(                                                  \
      "{\n\t"                                                    \
      ".reg .pred accumulate;\n\t"                               \
      "setp.ne.b32 accumulate, %6, 0;\n\t"                       \
      "wgmma.mma_async.sync.aligned.m64n8k16.f32." type "." type \
      " {%0, %1, %2, %3}, %4, %5, accumulate, 1, 1, %7, %7;\n\t" \
      "}"                                                        \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])           \
      : "l"(a), "l"(b), "r"(accumulate ? 1 : 0), "n"(kOuter ? 1 : 0))

template <typename T, bool kOuter>
MONARCH_DEVICE void multiply_async(float (&d)[4], std::uint64_t a, std::uint64_t b,
                                   bool accumulate) {
  if constexpr (std::is_same_v<T, Bf16>) {
    MONARCH_WGMMA("bf16");
  } else {
    MONARCH_WGMMA("f16");
  }
}
#undef MONARCH_WGMMA

}  // namespace monarch::attention::cuda::device
