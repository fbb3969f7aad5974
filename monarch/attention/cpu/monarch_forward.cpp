// Monarch attention, forward, one refinement step, fused.       s = softmax scale, everything in
// base 2
//   Q [A,I,J,D]   K,V [F,K,L,D]   blocks a, f; block rows i,k < I; block columns j,l < J
//   R [a,f,k,j,l] = softmax_l( s Q[a,k,j]·K[f,k,l] )
//   aL[a,f,k,j]   = Σ_l R K[f,k,l]        cL = Σ_l R log R
//   Y [a,f,k,j]   = Σ_l R V[f,k,l]
//   O [a,i,j]     = Σ_fk softmax_fk( s Q[a,i,j]·aL - cL ) Y
//
// A task holds some columns of the query blocks and walks over the key blocks with a running
// softmax, so aL and Y of one key block stay near the core, and the workspace does not grow with
// the number of keys. Everything is laid out so that softmaxes run across vectors, never along one,
// and no product needs a transposed copy of K, V, aL or Y:
//   scores  S[l,j] = K[k,l]·Q[k,j]   vectors along j (Q transposed once a task)     R in place,
//   normalised aL[j,k], Y[j,k] = Σ_l S[l,j] (K, V)[k,l]   vectors along D scores  W[k,i] =
//   aL[j,k]·Q[i,j]  vectors along i (Q transposed the other way once a task) O[j,i]  = g_i O[j,i] +
//   Σ_k W[k,i] Y[j,k]   vectors along D, g the running softmax's correction
// Cost: 6 I J² D + 4 I² J D operations a block pair. arXiv 2602.12271.
#include "monarch/attention/cpu/monarch_task.h"

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

struct Sizes {
  std::int64_t rows;         // I
  std::int64_t cols;         // J: columns of the task
  std::int64_t keys;         // L
  std::int64_t width;        // packed head_dim
  std::int64_t depth;        // head_dim in whole groups of four: rows of transposed queries
  std::int64_t padded_rows;  // I for vectors along i
  std::int64_t padded_cols;  // J for vectors along j

  Sizes(const MonarchForwardArgs& args, std::int64_t columns)
      : rows(args.layout.block_rows()),
        cols(columns),
        keys(args.layout.block_cols()),
        width(packed_width(args.head_dim)),
        depth(round_up(args.head_dim, 4)),
        padded_rows(padded_columns(static_cast<int>(rows))),
        padded_cols(padded_columns(static_cast<int>(cols))) {}
};

// Pieces of a thread's scratch, each on a cache line.
struct Scratch {
  float* q_by_row;    // [I, D, J]
  float* q_by_col;    // [J, D, I]
  float* a_l;         // [J, I, D]
  float* y;           // [J, I, D]
  float* out;         // [J, I, D]
  float* k_row;       // [L, D]
  float* v_row;       // [L, D]
  float* scores;      // [L, J] or [I, I]
  float* c_l;         // [I, J]
  float* row_max;     // [J, I]
  float* row_sum;     // [J, I]
  float* correction;  // [I]
  std::size_t size;

  // With a null base only `size` means anything.
  Scratch(const Sizes& s, float* base) {
    std::size_t used = 0;
    const auto take = [&](std::int64_t count) {
      float* piece = base == nullptr ? nullptr : base + used;
      used += static_cast<std::size_t>(round_up(count, 16));
      return piece;
    };
    q_by_row = take(s.rows * s.depth * s.padded_cols);
    q_by_col = take(s.cols * s.depth * s.padded_rows);
    a_l = take(s.cols * s.rows * s.width);
    y = take(s.cols * s.rows * s.width);
    out = take(s.cols * s.rows * s.width);
    k_row = take(s.keys * s.width);
    v_row = take(s.keys * s.width);
    const std::int64_t first = s.keys * s.padded_cols;
    const std::int64_t second = s.rows * s.padded_rows;
    scores = take(first > second ? first : second);
    c_l = take(s.rows * s.padded_cols);
    row_max = take(s.cols * s.padded_rows);
    row_sum = take(s.cols * s.padded_rows);
    correction = take(s.padded_rows);
    size = used;
  }
};

// Q of the task, scaled, transposed along j for the first scores and along i for the second.
void pack_queries(const MonarchForwardArgs& args, const Task& task, const Sizes& s,
                  const Scratch& scratch) {
  float* q = scratch.a_l;  // [I, J, D], free until the first key block
  task.for_each_query(
      args, [&](std::int64_t i, std::int64_t j, std::int64_t token) MONARCH_LAMBDA_INLINE {
        load_row(args.q.data, args.q.dtype, task.offset(args.q) + token * args.q.token_stride,
                 args.head_dim, s.width, args.scale_log2, q + (i * s.cols + j) * s.width);
      });
  for (std::int64_t i = 0; i < s.rows; ++i) {
    transpose(q + i * s.cols * s.width, s.width, s.cols, s.padded_cols, s.depth,
              scratch.q_by_row + i * s.depth * s.padded_cols, s.padded_cols);
  }
  for (std::int64_t j = 0; j < s.cols; ++j) {
    transpose(q + j * s.width, s.cols * s.width, s.rows, s.padded_rows, s.depth,
              scratch.q_by_col + j * s.depth * s.padded_rows, s.padded_rows);
  }
}

void load_keys(const MonarchForwardArgs& args, const Operand& operand, const Task& task,
               const Sizes& s, std::int64_t first_token, float* rows) {
  for (std::int64_t l = 0; l < s.keys; ++l) {
    load_row(operand.data, operand.dtype,
             task.offset(operand) + (first_token + l) * operand.token_stride, args.head_dim,
             s.width, 1.0F, rows + l * s.width);
  }
}

// R, aL, cL and Y of one key block.
void first_half(const MonarchForwardArgs& args, const Task& task, const Sizes& s,
                const Scratch& scratch, std::int64_t kv_block, std::int64_t num_kv_blocks) {
  const int depth = static_cast<int>(args.head_dim);
  const int keys = static_cast<int>(s.keys);
  const int cols = static_cast<int>(s.cols);
  const std::int64_t q_row = s.depth * s.padded_cols;
  // Tiles hold at most 24 vectors; the three products of a row have this many.
  const std::int64_t vectors = (s.keys * s.padded_cols + 2 * s.cols * s.width) / kLanes;
  for (std::int64_t k = 0; k < s.rows; ++k) {
    const std::int64_t token = row_start(args.layout, args.kv_block_order, kv_block, k);
    load_keys(args, args.k, task, s, token, scratch.k_row);
    load_keys(args, args.v, task, s, token, scratch.v_row);
    Ahead ahead;
    add_rows_after(args, task, kv_block, k, num_kv_blocks, ahead);
    ahead.spread(vectors / 24);
    const float* queries = scratch.q_by_row + k * q_row;
    Streams next_queries(queries + q_row, queries + q_row + q_row / 2);
    multiply(Form::kRows, keys, cols, depth, scratch.k_row, s.width, queries, s.padded_cols,
             scratch.scores, s.padded_cols, nullptr, &ahead, &next_queries);
    for_each_vector(s.padded_cols, [&](std::int64_t j) MONARCH_LAMBDA_INLINE {
      softmax_columns<kLanes>(scratch.scores + j, s.padded_cols, s.keys,
                              scratch.c_l + k * s.padded_cols + j);
    });
    multiply(Form::kColumns, cols, depth, keys, scratch.scores, s.padded_cols, scratch.k_row,
             s.width, scratch.a_l + k * s.width, s.rows * s.width, nullptr, &ahead);
    multiply(Form::kColumns, cols, depth, keys, scratch.scores, s.padded_cols, scratch.v_row,
             s.width, scratch.y + k * s.width, s.rows * s.width, nullptr, &ahead);
  }
}

// The key block's rows into the running softmax of each query.
void second_half(const MonarchForwardArgs& args, const Sizes& s, const Scratch& scratch) {
  const int depth = static_cast<int>(args.head_dim);
  const int rows = static_cast<int>(s.rows);
  const std::int64_t piece = s.rows * s.width;
  const std::int64_t slice = s.depth * s.padded_rows;
  for (std::int64_t j = 0; j < s.cols; ++j) {
    const float* a_l = scratch.a_l + j * piece;
    const float* y = scratch.y + j * piece;
    const float* queries = scratch.q_by_col + j * slice;
    float* out = scratch.out + j * piece;
    Streams next_scores(a_l + piece, queries + slice);
    multiply(Form::kRows, rows, rows, depth, a_l, s.width, queries, s.padded_rows, scratch.scores,
             s.padded_rows, nullptr, nullptr, &next_scores);
    for_each_vector(s.padded_rows, [&](std::int64_t i) MONARCH_LAMBDA_INLINE {
      running_softmax<kLanes>(scratch.scores + i, s.padded_rows, s.rows, scratch.c_l + j,
                              s.padded_cols, scratch.row_max + j * s.padded_rows + i,
                              scratch.row_sum + j * s.padded_rows + i, scratch.correction + i);
    });
    Streams next_sums(y + piece, out + piece);
    multiply(Form::kColumns, rows, depth, rows, scratch.scores, s.padded_rows, y, s.width, out,
             s.width, scratch.correction, nullptr, &next_sums);
  }
}

}  // namespace

std::size_t monarch_forward_workspace(const MonarchForwardArgs& args) {
  return Scratch(Sizes(args, task_columns(args)), nullptr).size;
}

void monarch_forward(const MonarchForwardArgs& args, std::int64_t index, float* workspace) {
  const Task task(args, index);
  const Sizes s(args, task.cols);
  const Scratch scratch(s, workspace);
  const QuerySums sums{s.padded_rows, s.rows,          s.width,
                       scratch.out,   scratch.row_max, scratch.row_sum};
  pack_queries(args, task, s, scratch);
  sums.reset(task);
  const std::int64_t visible = task.visible_blocks(args);
  for (std::int64_t f = 0; f < visible; ++f) {
    first_half(args, task, s, scratch, f, visible);
    second_half(args, s, scratch);
  }
  sums.store(args, task);
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
