// Vectors of floats for the kernels: GCC/Clang vector types, so one source serves every instruction
// set.
//
// Only kernel sources include this. Each is compiled once per instruction set with MONARCH_ISA
// naming its namespace and MONARCH_LANES the width of its vectors (CMakeLists.txt). No function
// compiled for one instruction set may be linked in place of another's: what kernel sources share
// is forced inline or declared in their namespace, and tools/check_kernel_symbols.py looks at the
// objects.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define MONARCH_INLINE inline __attribute__((always_inline))
#define MONARCH_LAMBDA_INLINE __attribute__((always_inline))

namespace monarch::attention::cpu::MONARCH_ISA {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
inline constexpr int kNumRegisters = 32;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
inline constexpr int kNumRegisters = 16;
#else
inline constexpr int kLanes = 4;
inline constexpr int kNumRegisters = 16;
#endif
static_assert(kLanes == MONARCH_LANES, "compiled with flags of another instruction set");

template <int N>
struct VecType;
template <>
struct VecType<4> {
  using Float __attribute__((vector_size(16))) = float;
  using Int __attribute__((vector_size(16))) = std::int32_t;
};
template <>
struct VecType<8> {
  using Float __attribute__((vector_size(32))) = float;
  using Int __attribute__((vector_size(32))) = std::int32_t;
};
template <>
struct VecType<16> {
  using Float __attribute__((vector_size(64))) = float;
  using Int __attribute__((vector_size(64))) = std::int32_t;
};
template <int N>
using Vec = typename VecType<N>::Float;
template <int N>
using IntVec = typename VecType<N>::Int;

template <int N>
MONARCH_INLINE Vec<N> load(const float* from) {
  Vec<N> value;
  __builtin_memcpy(&value, from, sizeof(value));  // any alignment; one move instruction
  return value;
}

template <int N>
MONARCH_INLINE void store(float* to, Vec<N> value) {
  __builtin_memcpy(to, &value, sizeof(value));
}

template <int N>
MONARCH_INLINE Vec<N> broadcast(float value) {
  return value - Vec<N>{};
}

// Σ over the lanes, in pairs.
template <int N>
MONARCH_INLINE float sum(Vec<N> value) {
  if constexpr (N == 4) {
    return (value[0] + value[1]) + (value[2] + value[3]);
  } else {
    Vec<N / 2> halves[2];
    __builtin_memcpy(halves, &value, sizeof(value));
    return sum<N / 2>(halves[0] + halves[1]);
  }
}

#if defined(__AVX2__)
// a's lanes, then b's. (GCC takes a shuffle that says the same apart, lane by lane.)
template <int N>
MONARCH_INLINE Vec<2 * N> join(Vec<N> a, Vec<N> b) {
  if constexpr (N == 4) {
    return (Vec<8>)_mm256_insertf128_ps(_mm256_castps128_ps256((__m128)a), (__m128)b, 1);
  } else {
#if defined(__AVX512DQ__)
    return (Vec<16>)_mm512_maskz_insertf32x8(0xffff, _mm512_castps256_ps512((__m256)a), (__m256)b,
                                             1);
#endif
  }
}
#endif

// Shuffles within each four lanes (a0 .. a3, b0 .. b3): a0 b0 a1 b1; a2 b2 a3 b3; a0 a1 b0 b1; a2
// a3 b2 b3.
#if MONARCH_LANES == 16
#define MONARCH_SHUFFLE(a, b, x, y, z, w)                                                         \
  __builtin_shufflevector(a, b, x, y, z, w, (x) + 4, (y) + 4, (z) + 4, (w) + 4, (x) + 8, (y) + 8, \
                          (z) + 8, (w) + 8, (x) + 12, (y) + 12, (z) + 12, (w) + 12)
#elif MONARCH_LANES == 8
#define MONARCH_SHUFFLE(a, b, x, y, z, w) \
  __builtin_shufflevector(a, b, x, y, z, w, (x) + 4, (y) + 4, (z) + 4, (w) + 4)
#else
#define MONARCH_SHUFFLE(a, b, x, y, z, w) __builtin_shufflevector(a, b, x, y, z, w)
#endif
MONARCH_INLINE Vec<kLanes> low_pairs(Vec<kLanes> a, Vec<kLanes> b) {
  return MONARCH_SHUFFLE(a, b, 0, kLanes, 1, kLanes + 1);
}
MONARCH_INLINE Vec<kLanes> high_pairs(Vec<kLanes> a, Vec<kLanes> b) {
  return MONARCH_SHUFFLE(a, b, 2, kLanes + 2, 3, kLanes + 3);
}
MONARCH_INLINE Vec<kLanes> low_halves(Vec<kLanes> a, Vec<kLanes> b) {
  return MONARCH_SHUFFLE(a, b, 0, 1, kLanes, kLanes + 1);
}
MONARCH_INLINE Vec<kLanes> high_halves(Vec<kLanes> a, Vec<kLanes> b) {
  return MONARCH_SHUFFLE(a, b, 2, 3, kLanes + 2, kLanes + 3);
}
#undef MONARCH_SHUFFLE

// A NaN in `b` is kept; one in `a` is dropped. Maxima only shift exponents, so a dropped NaN still
// reaches the sums.
template <int N>
MONARCH_INLINE Vec<N> max(Vec<N> a, Vec<N> b) {
  return a > b ? a : b;
}

// 2^x for x <= 127 with a relative error below 3e-7; zero below -126 (no subnormals); NaN stays
// NaN. x = n + r with n = floor(x); 2^r by a polynomial of degree 5, p(0) = 1, fitted on [0, 1] to
// a relative error of 8.3e-8.
template <int N>
MONARCH_INLINE Vec<N> exp2_fraction(Vec<N> r) {
  Vec<N> p = r * 0.0018671304F + 0.00901702978F;
  p = p * r + 0.0557999127F;
  p = p * r + 0.240164444F;
  p = p * r + 0.693151295F;
  return p * r + 1.0F;
}

template <int N>
MONARCH_INLINE Vec<N> exp2(Vec<N> x) {
#if defined(__AVX512DQ__) && defined(__AVX512VL__)
  // reduce: x - floor(x), and 0 for -infinity; scalef: p * 2^floor(x). (The forms with a mask, all
  // lanes set, spare us a false warning in GCC's header.)
  constexpr __mmask16 kAll = 0xffff;
  if constexpr (N == 16) {
    const auto r = (Vec<N>)_mm512_maskz_reduce_ps(kAll, (__m512)x, _MM_FROUND_TO_NEG_INF);
    return (Vec<N>)_mm512_maskz_scalef_ps(kAll, (__m512)exp2_fraction<N>(r), (__m512)x);
  } else if constexpr (N == 8) {
    const auto r = (Vec<N>)_mm256_reduce_ps((__m256)x, _MM_FROUND_TO_NEG_INF);
    return (Vec<N>)_mm256_scalef_ps((__m256)exp2_fraction<N>(r), (__m256)x);
  } else {
    const auto r = (Vec<N>)_mm_reduce_ps((__m128)x, _MM_FROUND_TO_NEG_INF);
    return (Vec<N>)_mm_scalef_ps((__m128)exp2_fraction<N>(r), (__m128)x);
  }
#else
  constexpr float kRound =
      12582912.0F;  // 1.5 * 2^23: a sum with it is an integer, kept in the low mantissa bits
  const Vec<N> clamped = x < -126.5F ? broadcast<N>(-126.5F) : x;
  const Vec<N> shifted = (clamped - 0.5F) + kRound;
  const Vec<N> p = exp2_fraction<N>(clamped - (shifted - kRound));
  IntVec<N> bits;
  __builtin_memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + 127) << 23;  // the exponent field of 2^n; zero for n = -127
  Vec<N> power;
  __builtin_memcpy(&power, &bits, sizeof(power));
  return p * power;
#endif
}

// log2(x) for positive normal x, absolute error below 1e-7 near 1 and relative below 2e-7
// elsewhere; NaN stays NaN. x = 2^e m with m in [sqrt(1/2), sqrt(2)): log2 m = 2/ln2 atanh(t), t =
// (m - 1) / (m + 1), |t| < 0.1716.
template <int N>
MONARCH_INLINE Vec<N> log2(Vec<N> x) {
  IntVec<N> bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  const IntVec<N> exponent = (bits - 0x3f3504f3) >> 23;  // of sqrt(1/2)
  bits -= exponent << 23;
  Vec<N> m;
  __builtin_memcpy(&m, &bits, sizeof(m));
  const Vec<N> t = (m - 1.0F) / (m + 1.0F);
  const Vec<N> t2 = t * t;
  Vec<N> series = t2 * 0.320598898F + 0.412198595F;  // 2 / (9 ln2), 2 / (7 ln2)
  series = series * t2 + 0.577078017F;               // 2 / (5 ln2)
  series = series * t2 + 0.961796694F;               // 2 / (3 ln2)
  series = series * t2 + 2.88539008F;                // 2 / ln2
  return __builtin_convertvector(exponent, Vec<N>) + series * t;
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
