// The rows of a Monarch step, forward (step.h): R, aL, cL and, in the last iteration, Y.
//
// A task takes the rows k = i, i + I, ... of some i and a tile of their queries j. Where all keys
// of a row fit one tile, as in MonarchRT's blocks, the products go straight to their place; longer
// rows are walked over with a running softmax, the entropy found in the same pass (softmax.h).
// Cost: 4 K P L D operations, 6 with Y.
#include "monarch/attention/cpu/flash.h"
#include "monarch/attention/cpu/step_kernel.h"

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

struct Scratch {
  float* q_t;     // [D, P]
  float* rows;    // [P, D]
  float* k;       // [L, D]
  float* v;       // [L, D]
  float* scores;  // [L, P]
  float* c_l;     // [P]
  float* lse;     // [P]
  std::size_t size;

  Scratch(const StepArgs& args, float* base) {
    ScratchCutter take(base);
    const std::int64_t width = packed_width(args.head_dim);
    const std::int64_t padded = padded_columns(static_cast<int>(args.cols));
    q_t = take(round_up(args.head_dim, 4) * padded);
    rows = take(args.cols * width);
    for (float** piece : {&k, &v}) *piece = take(args.keys * width);
    scores = take(args.keys * padded);
    c_l = take(padded);
    lse = take(padded);
    size = take.used();
  }
};

// All of row k at once; q_t holds its queries. Row `next` comes after it (-1: none).
void short_row(const StepArgs& args, const Scratch& scratch, std::int64_t k, std::int64_t next) {
  const std::int64_t width = packed_width(args.head_dim);
  const int depth = static_cast<int>(args.head_dim);
  const int cols = static_cast<int>(args.cols);
  const int keys = static_cast<int>(args.keys);
  const std::int64_t padded = padded_columns(cols);
  load_keys(args, args.k, k, 0, args.keys, scratch.k);
  if (args.last) load_keys(args, args.v, k, 0, args.keys, scratch.v);
  Ahead ahead;
  if (next >= 0) {
    add_keys(args, args.k, next, ahead);
    if (args.last) add_keys(args, args.v, next, ahead);
    ahead.spread((args.keys * padded + args.cols * width) / kLanes / 24);
  }
  multiply(Form::kRows, keys, cols, depth, scratch.k, width, scratch.q_t, padded, scratch.scores,
           padded, nullptr, &ahead);
  for (std::int64_t j = 0; j < padded; j += kLanes) {
    if (args.log_r != nullptr) {
      log_softmax_columns<kLanes>(scratch.scores + j, args.log_r + k * args.keys * padded + j,
                                  padded, args.keys, scratch.c_l + j);
    } else {
      softmax_columns<kLanes>(scratch.scores + j, padded, args.keys, scratch.c_l + j,
                              scratch.lse + j);
    }
  }
  multiply(Form::kColumns, cols, depth, keys, scratch.scores, padded, scratch.k, width,
           args.a_l + k * width, args.rows * width, nullptr, &ahead);
  if (args.last) {
    multiply(Form::kColumns, cols, depth, keys, scratch.scores, padded, scratch.v, width,
             args.y + k * width, args.rows * width, nullptr, &ahead);
  }
  for (std::int64_t j = 0; j < args.cols; ++j) args.c_l[j * args.rows + k] = scratch.c_l[j];
  if (args.row_lse == nullptr) return;
  for (std::int64_t j = 0; j < args.cols; ++j) args.row_lse[k * args.cols + j] = scratch.lse[j];
}

void long_row(const StepArgs& args, const FlashScratch& scratch, std::int64_t k, std::int64_t first,
              std::int64_t queries) {
  const std::int64_t width = packed_width(args.head_dim);
  load_a_r(args, k, first, queries, scratch.rows);
  const FlashWork work{.keys = true, .values = args.last, .entropy = true};
  flash_begin(scratch, work, args.head_dim, queries);
  const std::int64_t* tokens = args.k_tokens + k * args.keys;
  flash_keys(scratch, work, args.head_dim, queries, args.k, 0, args.v, 0, 0, args.keys,
             [&](std::int64_t l) MONARCH_LAMBDA_INLINE { return tokens[l]; });
  for (std::int64_t t = 0; t < padded_columns(static_cast<int>(queries)); t += kLanes) {
    const Vec<kLanes> row_sum = load<kLanes>(scratch.row_sum + t);
    const Vec<kLanes> inverse = 1.0F / row_sum;
    const Vec<kLanes> log_sum = log2<kLanes>(row_sum);
    store<kLanes>(scratch.moment + t, load<kLanes>(scratch.moment + t) * inverse - log_sum);
    store<kLanes>(scratch.row_max + t, load<kLanes>(scratch.row_max + t) + log_sum);
    store<kLanes>(scratch.correction + t, inverse);
  }
  for (std::int64_t t = 0; t < queries; ++t) {
    const std::int64_t at = (first + t) * args.rows + k;
    args.c_l[at] = scratch.moment[t];
    if (args.row_lse != nullptr) args.row_lse[k * args.cols + first + t] = scratch.row_max[t];
    store_row(scratch.out_k + t * width, scratch.correction[t], args.a_l, DType::kF32, at * width,
              width);
    if (args.last) {
      store_row(scratch.out_v + t * width, scratch.correction[t], args.y, DType::kF32, at * width,
                width);
    }
  }
}

}  // namespace

std::int64_t step_row_tile() { return kQueryTile; }
std::int64_t step_key_tile() { return kKeyTile; }
std::int64_t step_padded(std::int64_t cols) { return padded_columns(static_cast<int>(cols)); }

std::size_t step_rows_workspace(const StepArgs& args) {
  return args.keys <= kKeyTile ? Scratch(args, nullptr).size
                               : FlashScratch(args.head_dim, nullptr).size;
}

void step_rows(const StepArgs& all, std::int64_t index, float* workspace) {
  const std::int64_t runs = (all.queries + all.row_run - 1) / all.row_run;
  const std::int64_t tile = index % all.row_tiles;
  const RowRun run(all, index / all.row_tiles % runs);
  const StepArgs args = of_unit(all, index / all.row_tiles / runs);
  if (args.keys > kKeyTile) {
    const FlashScratch scratch(args.head_dim, workspace);
    const std::int64_t first = tile * args.cols / args.row_tiles;
    const std::int64_t last = (tile + 1) * args.cols / args.row_tiles;
    for (std::int64_t k = run.first; k >= 0; k = run.after(args, k))
      long_row(args, scratch, k, first, last - first);
    return;
  }
  const Scratch scratch(args, workspace);
  const std::int64_t padded = padded_columns(static_cast<int>(args.cols));
  for (std::int64_t k = run.first; k >= 0; k = run.after(args, k)) {
    if (!args.first || k < args.queries) {
      load_a_r(args, k, 0, args.cols, scratch.rows);
      transpose(scratch.rows, packed_width(args.head_dim), args.cols, padded,
                round_up(args.head_dim, 4), scratch.q_t, padded);
    }
    short_row(args, scratch, k, run.after(args, k));
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
