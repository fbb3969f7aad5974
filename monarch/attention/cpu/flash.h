// Exact attention of a tile of queries over a run of keys, with a running softmax: the loop that
// dense attention and VMonarch's first half share.
//
//   S[u,t] = K[u]·Q[t]   vectors along t (queries transposed once)       P[u,t] = 2^(S - max)
//   Ov[t] = g_t Ov[t] + Σ_u P[u,t] V[u]     Ok[t] = g_t Ok[t] + Σ_u P[u,t] K[u]     vectors along D
//
// Tiles of up to kQueryTile queries and kKeyTile keys keep scores, sums and the keys at hand within
// a second-level cache of 512 KiB; a key row copied once serves all queries of the tile, which
// makes the copy 3 % of the work at 192 queries.
#pragma once

#include "monarch/attention/cpu/rows.h"
#include "monarch/attention/cpu/softmax.h"
#include "monarch/attention/cpu/tile_product.h"

namespace monarch::attention::cpu::MONARCH_ISA {

inline constexpr std::int64_t kQueryTile = 192;
inline constexpr std::int64_t kKeyTile = 96;

struct FlashScratch {
  float* q;           // [D, T] scaled, transposed
  float* rows;        // [T, D] room to bring queries in
  float* out_k;       // [T, D]
  float* out_v;       // [T, D]
  float* k;           // [U, D]
  float* v;           // [U, D]
  float* scores;      // [U, T]
  float* row_max;     // [T]
  float* row_sum;     // [T]
  float* moment;      // [T]
  float* correction;  // [T]
  std::size_t size;

  // With a null base only `size` means anything.
  FlashScratch(std::int64_t head_dim, float* base) {
    std::size_t used = 0;
    const auto take = [&](std::int64_t count) {
      float* piece = base == nullptr ? nullptr : base + used;
      used += static_cast<std::size_t>(round_up(count, 16));
      return piece;
    };
    const std::int64_t width = packed_width(head_dim);
    q = take(round_up(head_dim, 4) * kQueryTile);
    rows = take(kQueryTile * width);
    out_k = take(kQueryTile * width);
    out_v = take(kQueryTile * width);
    k = take(kKeyTile * width);
    v = take(kKeyTile * width);
    scores = take(kKeyTile * kQueryTile);
    row_max = take(kQueryTile);
    row_sum = take(kQueryTile);
    moment = take(kQueryTile);
    correction = take(kQueryTile);
    size = used;
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
MONARCH_INLINE void flash_begin(const FlashScratch& scratch, const FlashWork& work,
                                std::int64_t head_dim, std::int64_t queries) {
  const std::int64_t width = packed_width(head_dim);
  const std::int64_t padded = padded_columns(static_cast<int>(queries));
  const std::int64_t depth = round_up(head_dim, 4);
  transpose(scratch.rows, width, queries, padded, depth, scratch.q, padded);
  for (std::int64_t at = 0; at < depth * padded; ++at) scratch.q[at] *= work.scale;
  for (std::int64_t at = 0; at < queries * width; ++at)
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
  const std::int64_t width = packed_width(head_dim);
  const int depth = static_cast<int>(head_dim);
  const int columns = static_cast<int>(queries);
  const std::int64_t padded = padded_columns(columns);
  const std::int64_t tiles = (last - first + kKeyTile - 1) / kKeyTile;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t begin = first + tile * (last - first) / tiles;
    const std::int64_t end = first + (tile + 1) * (last - first) / tiles;
    const int keys = static_cast<int>(end - begin);
    for (std::int64_t u = begin; u < end; ++u) {
      const std::int64_t token = token_of(u);
      load_row(k.data, k.dtype, k_base + token * k.token_stride, head_dim, width, 1.0F,
               scratch.k + (u - begin) * width);
      if (work.values) {
        load_row(v.data, v.dtype, v_base + token * v.token_stride, head_dim, width, 1.0F,
                 scratch.v + (u - begin) * width);
      }
    }
    Ahead ahead;  // the next tile, where its tokens follow this one's
    if (end < last) {
      const std::int64_t token = token_of(end);
      const std::int64_t next = last - end < keys ? last - end : keys;
      const auto add = [&](const Operand& operand, std::int64_t base) MONARCH_LAMBDA_INLINE {
        const int bytes = dtype_bytes(operand.dtype);
        ahead.add(
            static_cast<const char*>(operand.data) + (base + token * operand.token_stride) * bytes,
            operand.token_stride * bytes, head_dim * bytes, next);
      };
      add(k, k_base);
      if (work.values) add(v, v_base);
      ahead.spread((keys * padded + queries * width) / kLanes / 24);
    }
    multiply(Form::kRows, keys, columns, depth, scratch.k, width, scratch.q, padded, scratch.scores,
             padded, nullptr, &ahead);
    for_each_vector(padded, [&](std::int64_t t) MONARCH_LAMBDA_INLINE {
      if (work.entropy) {
        running_softmax<kLanes>(scratch.scores + t, padded, keys, nullptr, 0, scratch.row_max + t,
                                scratch.row_sum + t, scratch.correction + t, scratch.moment + t);
      } else {
        running_softmax<kLanes>(scratch.scores + t, padded, keys, nullptr, 0, scratch.row_max + t,
                                scratch.row_sum + t, scratch.correction + t);
      }
    });
    if (work.values) {
      multiply(Form::kColumns, columns, depth, keys, scratch.scores, padded, scratch.v, width,
               scratch.out_v, width, scratch.correction, &ahead);
    }
    if (work.keys) {
      multiply(Form::kColumns, columns, depth, keys, scratch.scores, padded, scratch.k, width,
               scratch.out_k, width, scratch.correction, &ahead);
    }
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
