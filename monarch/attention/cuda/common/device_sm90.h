// What device.h has no word for and sm_90a can do: barriers with phases, tiles copied by a tensor
// map into every block of a cluster, and matrix products of four warps out of shared memory. Two
// meanings, as there: instructions (device_sm90_nvcc.h), or the tests' emulator, which
// MONARCH_CUDA_EMULATION_SM90 names.
//
// An mbarrier is 8 bytes of shared memory. A phase ends when `count` arrivals and all bytes that
// were announced are there; phases alternate in parity, from 0. Waiting for parity 1 of a new one
// returns at once.
//
//   cluster_rank(), cluster_barrier()     of this block in its cluster; all threads of all
//   barrier(id, threads)                  so many threads of the block; id 1 to 15
//   claim_registers<N>(), release_registers<N>()
//                                         of all threads of four warps: N each from now on
//   mbarrier_init(offset, count)          then mbarrier_init_fence(), then cluster_barrier()
//   mbarrier_expect(offset, bytes)        announces bytes and arrives
//   mbarrier_arrive(offset, rank)         in the block `rank` of the cluster
//   mbarrier_wait(offset, parity)         until the phase of that parity has ended
//   copy_tensor(offset, map, at, mbarrier)
//                                         a box of a tensor map at {depth, head, token, batch}, its
//                                         rows of 128 bytes swizzled; zeros outside the tensor
//   copy_tensor_to(mask, ...)             to the same offsets of all blocks in `mask`
//   fence_async()                         before products and copies read what this thread stored
//
// Matrix products: D [64, 8] += A [64, 16] B [16, 8], floats d[4] as those of multiply() with warp
// w of the four at rows 16 w. A and B^T lie in shared memory, K along the rows; or, kOuter, A^T and
// B.
//
//   swizzled_matrix(offset)               rows of 128 bytes as copy_tensor writes them: 16 elements
//                                         along a row are 32 bytes, eight rows 1024
//   plain_matrix(offset)                  rows of 16 bytes, one behind the other (kOuter alone)
//   products_begin()                      before the first product of a batch
//   multiply_async<T, kOuter>(d, a, b, accumulate)
//   products_commit()
//   products_wait<N>(d)                   at most N committed batches stay in flight; `d` may be
//                                         read afterwards, and no sooner
#pragma once

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/common/tensor_map.h"

#if defined(MONARCH_CUDA_EMULATION_SM90)
#include MONARCH_CUDA_EMULATION_SM90
#else
#include "monarch/attention/cuda/common/device_sm90_nvcc.h"
#endif

namespace monarch::attention::cuda::device {

namespace detail {
// PTX: start, leading and stride bytes, each / 16, from bits 0, 16 and 32; the swizzle in 62.
constexpr std::uint64_t matrix_bits(std::uint32_t address, std::uint32_t leading,
                                    std::uint32_t stride) {
  return std::uint64_t{(address & 0x3ffff) >> 4} | std::uint64_t{leading >> 4} << 16 |
         std::uint64_t{stride >> 4} << 32;
}
}  // namespace detail

MONARCH_DEVICE std::uint64_t swizzled_matrix(std::uint32_t offset) {
  return detail::matrix_bits(shared_address(offset), 16, 1024) | std::uint64_t{1} << 62;
}
MONARCH_DEVICE std::uint64_t plain_matrix(std::uint32_t offset) {
  return detail::matrix_bits(shared_address(offset), 128, 128);
}

}  // namespace monarch::attention::cuda::device
