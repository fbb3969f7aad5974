// The vocabulary of device.h as instructions of a GPU, sm_80 and later.
#pragma once

#include <cstdint>
#include <type_traits>

#define MONARCH_DEVICE __device__ __forceinline__
#define MONARCH_UNROLL _Pragma("unroll")

namespace monarch::attention::cuda::device {

MONARCH_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
MONARCH_DEVICE int block_index() { return static_cast<int>(blockIdx.x); }
MONARCH_DEVICE void barrier() { __syncthreads(); }

MONARCH_DEVICE std::uint32_t shared_address(std::uint32_t offset) {
  extern __shared__ __align__(1024) unsigned char shared_memory[];
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_memory)) + offset;
}

template <typename T>
MONARCH_DEVICE T load_shared(std::uint32_t offset) {
  extern __shared__ __align__(1024) unsigned char shared_memory[];
  return *reinterpret_cast<const T*>(shared_memory + offset);
}
template <typename T>
MONARCH_DEVICE void store_shared(std::uint32_t offset, T value) {
  extern __shared__ __align__(1024) unsigned char shared_memory[];
  *reinterpret_cast<T*>(shared_memory + offset) = value;
}

template <typename T>
MONARCH_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffU, value, mask);
}
MONARCH_DEVICE bool any(bool predicate) { return __any_sync(0xffffffffU, predicate) != 0; }

MONARCH_DEVICE void load_matrices(std::uint32_t (&r)[4], std::uint32_t offset) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(offset))
               : "memory");
}
MONARCH_DEVICE void load_matrices_transposed(std::uint32_t (&r)[4], std::uint32_t offset) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(offset))
               : "memory");
}
MONARCH_DEVICE std::uint32_t transposed(std::uint32_t matrix) {
  std::uint32_t result;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(matrix));
  return result;
}

template <typename T>
MONARCH_DEVICE void multiply(float (&c)[4], const std::uint32_t (&a)[4],
                             const std::uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, Bf16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}
template <typename T>
MONARCH_DEVICE void multiply(float (&c)[4], const std::uint32_t (&a)[2], std::uint32_t b) {
  if constexpr (std::is_same_v<T, Bf16>) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
  } else {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
  }
}

// Past the first level of cache: what is copied serves one block, and other blocks of the same head
// find it in the second.
MONARCH_DEVICE void copy_async(std::uint32_t offset, const void* source, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(offset)),
               "l"(__cvta_generic_to_global(source)), "r"(valid ? 16 : 0)
               : "memory");
}
MONARCH_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kInFlight>
MONARCH_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kInFlight) : "memory");
}

MONARCH_DEVICE float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
MONARCH_DEVICE float log2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

MONARCH_DEVICE float square_root(float x) { return __fsqrt_rn(x); }

template <typename T>
MONARCH_DEVICE std::uint32_t pack(float low, float high) {
  std::uint32_t word;
  if constexpr (std::is_same_v<T, Bf16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  }
  return word;
}
template <typename T>
MONARCH_DEVICE void unpack(std::uint32_t word, float (&values)[2]) {
  if constexpr (std::is_same_v<T, Bf16>) {
    values[0] = __uint_as_float(word << 16);
    values[1] = __uint_as_float(word & 0xffff0000U);
  } else {
    asm("{ .reg .f16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }"
        : "=f"(values[0]), "=f"(values[1])
        : "r"(word));
  }
}

}  // namespace monarch::attention::cuda::device
