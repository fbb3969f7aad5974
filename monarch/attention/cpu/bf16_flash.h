// Exact attention of a tile of queries over a run of keys, as flash.h has it, on bf16 operands:
//
//   S[u,t] = K[u]·Q[t]   a strip of 32 queries t at a time       P[u,t] = 2^(s S - max), rounded
//   Ov[t] = g_t Ov[t] + Σ_u P[u,t] V[u]     Ok[t] = g_t Ok[t] + Σ_u P[u,t] K[u]
//
// Queries are not scaled before they are rounded: the scale goes to the scores. Copying a key costs
// about an eighth of what 256 queries make of it.
#pragma once

#include "monarch/attention/cpu/bf16_softmax.h"
#include "monarch/attention/cpu/scratch.h"

namespace monarch::attention::cpu::MONARCH_ISA {

inline constexpr std::int64_t kQueryTile = 256;
inline constexpr std::int64_t kKeyTile = 128;
inline constexpr std::int64_t kStripWords = kKeyTile / 2 * kStrip;  // of 32 columns of all keys

struct FlashScratch {
  float* rows;        // [T, D] room to bring queries in
  Word* q;            // [D/2, T] pairs
  Half* k;            // [U, D]
  Word* k_pairs;      // [D/32, U/2, 32]
  Word* v_pairs;      // [D/32, U/2, 32]
  float* scores;      // [U, 32]
  Word* pairs;        // [U/2, 32]
  Half* weights;      // [32, U]
  float* out_k;       // [T, D]
  float* out_v;       // [T, D]
  float* row_max;     // [T]
  float* row_sum;     // [T]
  float* moment;      // [T]
  float* correction;  // [T]
  std::size_t size;   // floats

  // With a null base only `size` means anything.
  FlashScratch(std::int64_t head_dim, float* base) {
    ScratchCutter take(base);
    const auto words = [&](std::int64_t count) { return reinterpret_cast<Word*>(take(count)); };
    const auto halves = [&](std::int64_t count) {
      return reinterpret_cast<Half*>(take((count + 1) / 2));
    };
    const std::int64_t width = packed_width(head_dim);
    rows = take(kQueryTile * width);
    q = words(width / 2 * kQueryTile);
    k = halves(kKeyTile * width);
    k_pairs = words(kKeyTile / 2 * width);
    v_pairs = words(kKeyTile / 2 * width);
    scores = take(kKeyTile * kStrip);
    pairs = words(kKeyTile / 2 * kStrip);
    weights = halves(kStrip * kKeyTile);
    out_k = take(kQueryTile * width);
    out_v = take(kQueryTile * width);
    row_max = take(kQueryTile);
    row_sum = take(kQueryTile);
    moment = take(kQueryTile);
    correction = take(kQueryTile);
    size = take.used();
  }
};

// What one tile of queries accumulates besides the softmax statistics.
struct FlashWork {
  float scale = 1.0F;    // of the scores, with log2 e
  bool keys = false;     // Ok
  bool values = false;   // Ov
  bool entropy = false;  // moment
};

// scratch.rows [queries, D] become the tile's queries; everything accumulated is reset.
MONARCH_INLINE void flash_begin(const FlashScratch& scratch, const FlashWork& /*work*/,
                                std::int64_t head_dim, std::int64_t queries) {
  const std::int64_t width = packed_width(head_dim);
  const std::int64_t padded = round_up(queries, kStrip);
  auto* rounded = reinterpret_cast<Word*>(scratch.rows);  // in place: a row's first half
  for (std::int64_t t = 0; t < queries; ++t) {
    for (std::int64_t d = 0; d < width; d += 32) {
      const float* from = scratch.rows + t * width + d;
      const __m512i halves = round_to_halves(load<16>(from), load<16>(from + 16));
      _mm512_storeu_si512(rounded + t * width + d / 2, halves);
    }
  }
  transpose_words(rounded, width, queries, padded, width / 2, scratch.q, padded);
  for (std::int64_t at = 0; at < round_up(queries, kTile) * width; ++at)
    scratch.out_k[at] = scratch.out_v[at] = 0.0F;
  for (std::int64_t t = 0; t < padded; ++t) {
    scratch.row_max[t] = -__builtin_inff();
    scratch.row_sum[t] = scratch.moment[t] = 0.0F;
  }
}

// Keys first..last-1 of a (batch, head) whose element offsets are base + token_of(u) *
// token_stride.
template <typename TokenOf>
MONARCH_INLINE void flash_keys(const FlashScratch& scratch, const FlashWork& work,
                               std::int64_t head_dim, std::int64_t queries, const Operand& k,
                               std::int64_t k_base, const Operand& v, std::int64_t v_base,
                               std::int64_t first, std::int64_t last, const TokenOf& token_of) {
  const ProductScope products;
  const int width = static_cast<int>(packed_width(head_dim));
  const std::int64_t padded = round_up(queries, kStrip);
  const std::int64_t tiles = (last - first + kKeyTile - 1) / kKeyTile;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t begin = first + tile * (last - first) / tiles;
    const std::int64_t end = first + (tile + 1) * (last - first) / tiles;
    const int keys = static_cast<int>(end - begin);
    const int depth = static_cast<int>(round_up(keys, kStrip));
    const auto key = [&](const Operand& operand, std::int64_t base, std::int64_t u)
                         MONARCH_LAMBDA_INLINE {
                           return static_cast<const Half*>(operand.data) + base +
                                  token_of(begin + u) * operand.token_stride;
                         };
    const std::int64_t next = last - end < keys ? last - end : keys;  // keys to fetch for later
    const auto pack = [&](const Operand& operand, std::int64_t base, Half* rows,
                          Word* pairs) MONARCH_LAMBDA_INLINE {
      pack_rows([&](std::int64_t u) MONARCH_LAMBDA_INLINE { return key(operand, base, u); }, keys,
                head_dim, width, rows, pairs, kStripWords,
                [&](std::int64_t u) MONARCH_LAMBDA_INLINE {
                  if (u >= next) return;
                  const Half* row = key(operand, base, keys + u);
                  for (std::int64_t d = 0; d < head_dim; d += 32) __builtin_prefetch(row + d, 0, 2);
                });
    };
    pack(k, k_base, scratch.k, work.keys ? scratch.k_pairs : nullptr);
    if (work.values) pack(v, v_base, nullptr, scratch.v_pairs);
    for (std::int64_t t = 0; t < queries; t += kStrip) {
      multiply_strip(keys, width, scratch.k, width, scratch.q + t, padded, scratch.scores, kStrip,
                     Sum::kOverwrite);
      if (work.entropy) {
        running_softmax_strip<false, true>(
            scratch.scores, keys, work.scale, nullptr, 0, scratch.row_max + t, scratch.row_sum + t,
            scratch.correction + t, scratch.moment + t, scratch.pairs, scratch.weights, depth);
      } else {
        running_softmax_strip<false, false>(
            scratch.scores, keys, work.scale, nullptr, 0, scratch.row_max + t, scratch.row_sum + t,
            scratch.correction + t, nullptr, scratch.pairs, scratch.weights, depth);
      }
      const int rows = static_cast<int>(queries - t < kStrip ? queries - t : kStrip);
      const auto add = [&](const Word* pairs, float* out) {
        correct_rows(scratch.correction + t, rows, width, out + t * width);
        for (int d = 0; d < width; d += kStrip) {
          multiply_strip(rows, depth, scratch.weights, depth, pairs + d / kStrip * kStripWords,
                         kStrip, out + t * width + d, width, Sum::kAdd);
        }
      };
      if (work.keys) add(scratch.k_pairs, scratch.out_k);
      if (work.values) add(scratch.v_pairs, scratch.out_v);
    }
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
