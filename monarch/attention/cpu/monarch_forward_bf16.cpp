// Monarch attention, forward, one refinement step, on bf16 operands: the mathematics and the order
// of work of monarch_forward.cpp, on products of bf16 matrices (bf16_product.h).
//
//   scores  S[l,j] = K[k,l]·Q[k,j]    strips of 32 columns j
//   aL, Y   [j,k]  = Σ_l P[l,j] (K, V)[k,l] / Σ_l P[l,j]      strips of 32 of D, K's then V's
//   scores  W[k,i] = aL[j,k]·Q[i,j]   strips of 32 rows i
//   O[j,i]         = g_i O[j,i] + Σ_k P[k,i] Y[j,k]
//
// What is rounded to bf16, beside the operands: the weights P of both softmaxes, aL and Y, once
// each; everything else is float. A rounded aL disturbs W by as much as rounding Q or K did, so
// more bits for it would not show in the result.
#include "monarch/attention/cpu/bf16_softmax.h"
#include "monarch/attention/cpu/monarch_task.h"
#include "monarch/attention/cpu/scratch.h"

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

struct Sizes {
  std::int64_t rows;        // I
  std::int64_t cols;        // J: columns of the task
  std::int64_t keys;        // L
  std::int64_t width;       // packed head_dim
  std::int64_t row_tiles;   // I for rows of a product
  std::int64_t row_strips;  // I for its columns and its depth
  std::int64_t col_strips;  // J the same
  std::int64_t key_depth;   // L the same

  MONARCH_INLINE Sizes(const MonarchForwardArgs& args, std::int64_t columns)
      : rows(args.layout.block_rows()),
        cols(columns),
        keys(args.layout.block_cols()),
        width(packed_width(args.head_dim)),
        row_tiles(round_up(rows, kTile)),
        row_strips(round_up(rows, kStrip)),
        col_strips(round_up(cols, kStrip)),
        key_depth(round_up(keys, kStrip)) {}
};

// Pieces of a thread's scratch, each on a cache line.
struct Scratch {
  Word* q_by_row;     // [I, D/2, J] pairs
  Word* q_by_col;     // [J, D/2, I] pairs
  Half* a_l;          // [J, I, D]
  Word* y;            // [J, I/2, D] pairs
  float* out;         // [J, I, D]
  Half* k;            // [L, D]
  Word* kv;           // [L/2, 2 D] pairs of K, then of V
  float* scores;      // [L, 32] or [I, 32]
  Word* pairs;        // [L/2, 32] or [I/2, 32]
  Half* weights;      // [J, L] or [32, I]
  float* sums;        // [J, 32]
  float* c_l;         // [I, J]
  float* inverse;     // [J]
  float* row_max;     // [J, I]
  float* row_sum;     // [J, I]
  float* correction;  // [32]
  std::size_t size;   // floats

  // With a null base only `size` means anything.
  MONARCH_INLINE Scratch(const Sizes& s, float* base) {
    ScratchCutter take(base);
    const auto words = [&](std::int64_t count) { return reinterpret_cast<Word*>(take(count)); };
    const auto halves = [&](std::int64_t count) {
      return reinterpret_cast<Half*>(take((count + 1) / 2));
    };
    const auto larger = [](std::int64_t a, std::int64_t b) { return a > b ? a : b; };
    const std::int64_t depth = larger(s.key_depth, s.row_strips);
    q_by_row = words(s.rows * s.width / 2 * s.col_strips);
    q_by_col = words(s.cols * s.width / 2 * s.row_strips);
    a_l = halves(s.cols * s.row_tiles * s.width);
    y = words(s.cols * s.row_strips / 2 * s.width);
    out = take(s.cols * s.row_tiles * s.width);
    k = halves(s.key_depth * s.width);
    kv = words(s.key_depth / 2 * 2 * s.width);
    scores = take(depth * kStrip);
    pairs = words(depth / 2 * kStrip);
    weights = halves(larger(s.col_strips * s.key_depth, kStrip * s.row_strips));
    sums = take(s.col_strips * kStrip);
    c_l = take(s.rows * s.col_strips);
    inverse = take(s.col_strips);
    row_max = take(s.cols * s.row_strips);
    row_sum = take(s.cols * s.row_strips);
    correction = take(kStrip);
    size = take.used();
  }
};

// Q of the task in pairs of its dimensions, along j for the first scores and along i for the
// second.
void pack_queries(const MonarchForwardArgs& args, const Task& task, const Sizes& s,
                  const Scratch& scratch) {
  const std::int64_t words = s.width / 2;
  auto* q = reinterpret_cast<Word*>(scratch.out);  // [I, J, D/2], free until the first key block
  task.for_each_query(
      args, [&](std::int64_t i, std::int64_t j, std::int64_t token) MONARCH_LAMBDA_INLINE {
        const Half* from = static_cast<const Half*>(args.q.data) + task.offset(args.q) +
                           token * args.q.token_stride;
        for (std::int64_t d = 0; d < s.width; d += 32) {
          _mm512_storeu_si512(q + (i * s.cols + j) * words + d / 2,
                              load_halves(from + d, args.head_dim - d));
        }
      });
  for (std::int64_t i = 0; i < s.rows; ++i) {
    transpose_words(q + i * s.cols * words, words, s.cols, s.col_strips, words,
                    scratch.q_by_row + i * words * s.col_strips, s.col_strips);
  }
  for (std::int64_t j = 0; j < s.cols; ++j) {
    transpose_words(q + j * words, s.cols * words, s.rows, s.row_strips, words,
                    scratch.q_by_col + j * words * s.row_strips, s.row_strips);
  }
}

// A strip of aL or Y of row k, divided by the softmax's sums: aL as rows of bf16; Y as floats where
// k is even, and in pairs with them where it is odd.
MONARCH_INLINE void store_a_l(const Sizes& s, const Scratch& scratch, std::int64_t k,
                              std::int64_t d) {
  for (std::int64_t j = 0; j < s.cols; ++j) {
    const float inverse = scratch.inverse[j];
    const float* sum = scratch.sums + j * kStrip;
    _mm512_storeu_si512(scratch.a_l + (j * s.row_tiles + k) * s.width + d,
                        round_to_halves(load<16>(sum) * inverse, load<16>(sum + 16) * inverse));
  }
}

MONARCH_INLINE void store_y(const Sizes& s, const Scratch& scratch, std::int64_t k,
                            std::int64_t d) {
  for (std::int64_t j = 0; j < s.cols; ++j) {
    Word* pair = scratch.y + (j * s.row_strips / 2 + k / 2) * s.width + d;
#pragma GCC unroll 2
    for (int v = 0; v < 32; v += 16) {
      const Vec<16> y = load<16>(scratch.sums + j * kStrip + v) * scratch.inverse[j];
      Vec<16> even;
      __builtin_memcpy(&even, pair + v, sizeof(even));
      if (k % 2 == 1) {
        _mm512_storeu_si512(pair + v, side_by_side(even, y));
      } else if (k + 1 == s.rows) {
        _mm512_storeu_si512(pair + v, side_by_side(y, Vec<16>{}));
      } else {
        __builtin_memcpy(pair + v, &y, sizeof(y));
      }
    }
  }
}

// P, aL, cL and Y of one key block.
void first_half(const MonarchForwardArgs& args, const Task& task, const Sizes& s,
                const Scratch& scratch, std::int64_t kv_block, std::int64_t num_kv_blocks) {
  const int width = static_cast<int>(s.width);
  const int keys = static_cast<int>(s.keys);
  const int depth = static_cast<int>(s.key_depth);
  const std::int64_t steps =
      s.key_depth / 32 * s.col_strips / 32 + s.col_strips / 32 * s.width / 16;
  for (std::int64_t k = 0; k < s.rows; ++k) {
    const std::int64_t token = row_start(args.layout, args.kv_block_order, kv_block, k);
    const auto row_of = [&](const Operand& operand) {
      const Half* first = static_cast<const Half*>(operand.data) + task.offset(operand) +
                          token * operand.token_stride;
      return [first, stride = operand.token_stride](std::int64_t l)
                 MONARCH_LAMBDA_INLINE { return first + l * stride; };
    };
    pack_rows(row_of(args.k), s.keys, args.head_dim, s.width, scratch.k, scratch.kv, 2 * s.width);
    pack_rows(row_of(args.v), s.keys, args.head_dim, s.width, nullptr, scratch.kv + s.width,
              2 * s.width);
    Ahead ahead;
    add_rows_after(args, task, kv_block, k, num_kv_blocks, ahead);
    ahead.spread(steps);
    for (std::int64_t j = 0; j < s.cols; j += kStrip) {
      multiply_strip(keys, width, scratch.k, width,
                     scratch.q_by_row + k * s.width / 2 * s.col_strips + j, s.col_strips,
                     scratch.scores, kStrip, Sum::kOverwrite, &ahead);
      softmax_strip(scratch.scores, keys, args.scale_log2, scratch.inverse + j,
                    scratch.c_l + k * s.col_strips + j, scratch.pairs,
                    scratch.weights + j * s.key_depth, s.key_depth);
    }
    for (std::int64_t d = 0; d < 2 * s.width; d += kStrip) {
      multiply_strip(static_cast<int>(s.cols), depth, scratch.weights, depth, scratch.kv + d,
                     2 * s.width, scratch.sums, kStrip, Sum::kOverwrite, &ahead);
      if (d < s.width) {
        store_a_l(s, scratch, k, d);
      } else {
        store_y(s, scratch, k, d - s.width);
      }
    }
  }
}

// The key block's rows into the running softmax of each query.
void second_half(const MonarchForwardArgs& args, const Sizes& s, const Scratch& scratch) {
  const int rows = static_cast<int>(s.rows);
  const int width = static_cast<int>(s.width);
  const int depth = static_cast<int>(s.row_strips);
  for (std::int64_t j = 0; j < s.cols; ++j) {
    for (int i = 0; i < rows; i += kStrip) {
      const std::int64_t at = j * s.row_strips + i;
      multiply_strip(rows, width, scratch.a_l + j * s.row_tiles * s.width, width,
                     scratch.q_by_col + j * s.width / 2 * s.row_strips + i, s.row_strips,
                     scratch.scores, kStrip, Sum::kOverwrite, nullptr);
      running_softmax_strip<true, false>(scratch.scores, rows, args.scale_log2, scratch.c_l + j,
                                         s.col_strips, scratch.row_max + at, scratch.row_sum + at,
                                         scratch.correction, nullptr, scratch.pairs,
                                         scratch.weights, depth);
      const int count = rows - i < kStrip ? rows - i : kStrip;
      float* out = scratch.out + (j * s.row_tiles + i) * s.width;
      correct_rows(scratch.correction, count, s.width, out);
      for (int d = 0; d < width; d += kStrip) {
        multiply_strip(count, depth, scratch.weights, depth,
                       scratch.y + j * s.row_strips / 2 * s.width + d, width, out + d, width,
                       Sum::kAdd, nullptr);
      }
    }
  }
}

}  // namespace

std::size_t monarch_forward_workspace(const MonarchForwardArgs& args) {
  return Scratch(Sizes(args, task_columns(args)), nullptr).size;
}

void monarch_forward(const MonarchForwardArgs& args, std::int64_t index, float* workspace) {
  const ProductScope products;
  const Task task(args, index);
  const Sizes s(args, task.cols);
  const Scratch scratch(s, workspace);
  const QuerySums sums{s.row_strips, s.row_tiles,     s.width,
                       scratch.out,  scratch.row_max, scratch.row_sum};
  pack_queries(args, task, s, scratch);
  sums.reset(task);
  // Pairs of Y beyond the last row stay zero.
  for (std::int64_t at = 0; at < s.cols * s.row_strips / 2 * s.width; at += 16)
    _mm512_storeu_si512(scratch.y + at, _mm512_setzero_si512());
  const std::int64_t visible = task.visible_blocks(args);
  for (std::int64_t f = 0; f < visible; ++f) {
    first_half(args, task, s, scratch, f, visible);
    second_half(args, s, scratch);
  }
  sums.store(args, task);
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
