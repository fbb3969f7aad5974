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

inline constexpr std::int64_t kKeyRows = 64;  // rows that fill the second half's products
inline constexpr std::int64_t kColumns = 64;  // columns whose sums stay in the first-level cache

struct Sizes {
  std::int64_t rows;            // I
  std::int64_t cols;            // J: columns of the task
  std::int64_t keys;            // L
  std::int64_t width;           // packed head_dim
  std::int64_t key_blocks;      // taken at once, to fill the second half's products
  std::int64_t key_rows;        // K: rows k of those
  std::int64_t row_tiles;       // I for rows of a product
  std::int64_t row_strips;      // I for its columns
  std::int64_t col_strips;      // J for its columns
  std::int64_t key_depth;       // L for its depth
  std::int64_t key_row_tiles;   // K for its rows
  std::int64_t key_row_strips;  // K for its depth
  // From column to column of aL (halves) and of Y (words). Both are written for one k and all j at
  // a time: a line more than a power of two, or all these lines want the same sets of the cache.
  std::int64_t a_l_stride;
  std::int64_t y_stride;

  MONARCH_INLINE Sizes(const MonarchForwardArgs& args, std::int64_t columns)
      : rows(args.layout.block_rows()),
        cols(columns),
        keys(args.layout.block_cols()),
        width(packed_width(args.head_dim)),
        key_blocks(rows > kKeyRows ? 1 : kKeyRows / rows),
        key_rows(key_blocks * rows),
        row_tiles(round_up(rows, kTile)),
        row_strips(round_up(rows, kStrip)),
        col_strips(round_up(cols, kStrip)),
        key_depth(round_up(keys, kStrip)),
        key_row_tiles(round_up(key_rows, kTile)),
        key_row_strips(round_up(key_rows, kStrip)),
        a_l_stride(key_row_tiles * width + 32),
        y_stride(key_row_strips / 2 * width + 16) {}
};

// Pieces of a thread's scratch, each on a cache line.
struct Scratch {
  Word* q_by_row;     // [I, D/2, J] pairs
  Word* q_by_col;     // [J, D/2, I] pairs
  Half* a_l;          // [J, K, D]
  Word* y;            // [J, K/2, D] pairs
  float* out;         // [J, I, D]
  Half* k;            // [L, D]
  Word* strips;       // [2 (rows k), L/2, 32] pairs of K or V
  float* scores;      // [L, 32] or [K, 32]
  Word* pairs;        // [L/2, 32] or [K/2, 32]
  Half* weights;      // [2 (rows k), J, L] or [32, K]
  float* sums;        // [2 (rows k), 64 (columns j), 32]
  float* c_l;         // [K, J]
  float* inverse;     // [2 (rows k), J]
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
    const std::int64_t depth = larger(s.key_depth, s.key_row_strips);
    q_by_row = words(s.rows * s.width / 2 * s.col_strips);
    q_by_col = words(s.cols * s.width / 2 * s.row_strips);
    a_l = halves(s.cols * s.a_l_stride);
    y = words(s.cols * s.y_stride);
    out = take(s.cols * s.row_tiles * s.width);
    k = halves(s.key_depth * s.width);
    strips = words(s.key_depth * kStrip);
    scores = take(depth * kStrip);
    pairs = words(depth / 2 * kStrip);
    weights = halves(larger(2 * s.col_strips * s.key_depth, kStrip * s.key_row_strips));
    sums = take(2 * kColumns * kStrip);
    c_l = take(s.key_rows * s.col_strips);
    inverse = take(2 * s.col_strips);
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

// The keys of row k of a key block, which may lie in a later one; none after num_kv_blocks.
MONARCH_INLINE Rows row_of(const MonarchForwardArgs& args, const Task& task, const Operand& operand,
                           std::int64_t kv_block, std::int64_t k, std::int64_t num_kv_blocks) {
  const std::int64_t rows = args.layout.block_rows();
  kv_block += k / rows;
  if (kv_block >= num_kv_blocks) return {};
  const std::int64_t token = row_start(args.layout, args.kv_block_order, kv_block, k % rows);
  return {
      static_cast<const Half*>(operand.data) + task.offset(operand) + token * operand.token_stride,
      operand.token_stride};
}

// A place for what depends on a row k and on the columns: rows are taken two at a time, those that
// make a pair of Y.
struct Slot {
  Half* weights;   // [J, L]
  float* inverse;  // [J]
  Word* strip;     // [L/2, 32]
  float* sums;     // [64, 32]

  MONARCH_INLINE Slot(const Sizes& s, const Scratch& scratch, std::int64_t which)
      : weights(scratch.weights + which * s.col_strips * s.key_depth),
        inverse(scratch.inverse + which * s.col_strips),
        strip(scratch.strips + which * s.key_depth / 2 * kStrip),
        sums(scratch.sums + which * kColumns * kStrip) {}

  // Sums of columns j .. j + count - 1 over the strip's keys.
  MONARCH_INLINE void multiply(const Sizes& s, std::int64_t j, std::int64_t count) const {
    multiply_strip(static_cast<int>(count), static_cast<int>(s.key_depth),
                   weights + j * s.key_depth, s.key_depth, strip, kStrip, sums, kStrip,
                   Sum::kOverwrite);
  }
};

// Calls f(first, count) for the columns, a few at a time.
template <typename F>
MONARCH_INLINE void for_columns(const Sizes& s, const F& f) {
  for (std::int64_t j = 0; j < s.cols; j += kColumns)
    f(j, s.cols - j < kColumns ? s.cols - j : kColumns);
}

// P and cL of row k; K of that row is in scratch.k.
void row_weights(const MonarchForwardArgs& args, const Sizes& s, const Scratch& scratch,
                 const Slot& slot, std::int64_t k) {
  const int keys = static_cast<int>(s.keys);
  const Word* q = scratch.q_by_row + k % s.rows * s.width / 2 * s.col_strips;
  for (std::int64_t j = 0; j < s.cols; j += kStrip) {
    multiply_strip(keys, static_cast<int>(s.width), scratch.k, s.width, q + j, s.col_strips,
                   scratch.scores, kStrip, Sum::kOverwrite);
    softmax_strip(scratch.scores, keys, args.scale_log2, slot.inverse + j,
                  scratch.c_l + k * s.col_strips + j, scratch.pairs, slot.weights + j * s.key_depth,
                  s.key_depth);
  }
}

// aL of row k from its weights; meanwhile `later` is brought in.
void row_a_l(const Sizes& s, const Scratch& scratch, const Slot& slot, std::int64_t k,
             const Rows& later) {
  for (std::int64_t d = 0; d < s.width; d += kStrip) {
    pack_strip(Rows{scratch.k + d, s.width}, s.keys, kStrip, slot.strip, fetch(later, d));
    for_columns(s, [&](std::int64_t first, std::int64_t count) MONARCH_LAMBDA_INLINE {
      slot.multiply(s, first, count);
      Half* to = scratch.a_l + first * s.a_l_stride + k * s.width + d;
      for (std::int64_t j = 0; j < count; ++j) {
        const float inverse = slot.inverse[first + j];
        const float* sum = slot.sums + j * kStrip;
        _mm512_storeu_si512(to + j * s.a_l_stride,
                            round_to_halves(load<16>(sum) * inverse, load<16>(sum + 16) * inverse));
      }
    });
  }
}

// Y of rows k and k + 1 (zeros if that one is not there) in pairs.
void pair_of_y(const MonarchForwardArgs& args, const Sizes& s, const Scratch& scratch,
               std::int64_t k, const Rows (&values)[2], const Rows (&later)[2]) {
  const Slot slots[2] = {{s, scratch, 0}, {s, scratch, 1}};
  const bool both = values[1].first != nullptr;
  for (std::int64_t d = 0; d < s.width; d += kStrip) {
    for (int r = 0; r < (both ? 2 : 1); ++r) {
      pack_strip(Rows{values[r].first + d, values[r].stride}, s.keys, args.head_dim - d,
                 slots[r].strip, fetch(later[r], d));
    }
    for_columns(s, [&](std::int64_t first, std::int64_t count) MONARCH_LAMBDA_INLINE {
      slots[0].multiply(s, first, count);
      if (both) slots[1].multiply(s, first, count);
      Word* to = scratch.y + first * s.y_stride + k / 2 * s.width + d;
      for (std::int64_t j = 0; j < count; ++j) {
#pragma GCC unroll 2
        for (int v = 0; v < 32; v += 16) {
          const Vec<16> even =
              load<16>(slots[0].sums + j * kStrip + v) * slots[0].inverse[first + j];
          const Vec<16> odd =
              both ? load<16>(slots[1].sums + j * kStrip + v) * slots[1].inverse[first + j]
                   : Vec<16>{};
          _mm512_storeu_si512(to + j * s.y_stride + v, side_by_side(even, odd));
        }
      }
    });
  }
}

// P, aL, cL and Y of some key blocks. K and V are paired a strip of columns at a time just before
// its product, in a few KiB that stay in the first-level cache; pairs of whole rows would go
// through the second. Meanwhile the same strip of the row after the next is brought in.
void first_half(const MonarchForwardArgs& args, const Task& task, const Sizes& s,
                const Scratch& scratch, std::int64_t kv_block, std::int64_t num_kv_blocks,
                std::int64_t key_rows) {
  const auto row = [&](const Operand& operand, std::int64_t k) MONARCH_LAMBDA_INLINE {
    return row_of(args, task, operand, kv_block, k, num_kv_blocks);
  };
  for (std::int64_t k = 0; k < key_rows; k += 2) {
    const bool both = k + 1 < key_rows;
    for (std::int64_t r = 0; r < (both ? 2 : 1); ++r) {
      const Slot slot(s, scratch, r);
      copy_rows(row(args.k, k + r), s.keys, args.head_dim, s.width, scratch.k);
      row_weights(args, s, scratch, slot, k + r);
      row_a_l(s, scratch, slot, k + r, row(args.k, k + r + 2));
    }
    pair_of_y(args, s, scratch, k, {row(args.v, k), both ? row(args.v, k + 1) : Rows{}},
              {row(args.v, k + 2), row(args.v, k + 3)});
  }
}

// The key blocks' rows into the running softmax of each query.
void second_half(const MonarchForwardArgs& args, const Sizes& s, const Scratch& scratch,
                 int key_rows) {
  const int rows = static_cast<int>(s.rows);
  const int width = static_cast<int>(s.width);
  const int depth = static_cast<int>(round_up(key_rows, kStrip));
  for (std::int64_t j = 0; j < s.cols; ++j) {
    for (int i = 0; i < rows; i += kStrip) {
      const std::int64_t at = j * s.row_strips + i;
      multiply_strip(key_rows, width, scratch.a_l + j * s.a_l_stride, width,
                     scratch.q_by_col + j * s.width / 2 * s.row_strips + i, s.row_strips,
                     scratch.scores, kStrip, Sum::kOverwrite);
      running_softmax_strip<true, false>(scratch.scores, key_rows, args.scale_log2, scratch.c_l + j,
                                         s.col_strips, scratch.row_max + at, scratch.row_sum + at,
                                         scratch.correction, nullptr, scratch.pairs,
                                         scratch.weights, depth);
      const int count = rows - i < kStrip ? rows - i : kStrip;
      float* out = scratch.out + (j * s.row_tiles + i) * s.width;
      correct_rows(scratch.correction, count, s.width, out);
      for (int d = 0; d < width; d += kStrip) {
        multiply_strip(count, depth, scratch.weights, depth, scratch.y + j * s.y_stride + d, width,
                       out + d, width, Sum::kAdd);
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
  // Pairs of Y beyond the last row meet weights of zero; they must be numbers.
  for (std::int64_t at = 0; at < s.cols * s.y_stride; at += 16)
    _mm512_storeu_si512(scratch.y + at, _mm512_setzero_si512());
  const std::int64_t visible = task.visible_blocks(args);
  for (std::int64_t f = 0; f < visible; f += s.key_blocks) {
    const std::int64_t blocks = visible - f < s.key_blocks ? visible - f : s.key_blocks;
    first_half(args, task, s, scratch, f, visible, blocks * s.rows);
    second_half(args, s, scratch, static_cast<int>(blocks * s.rows));
  }
  sums.store(args, task);
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
