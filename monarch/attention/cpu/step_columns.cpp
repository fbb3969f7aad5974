// The columns of a Monarch step, forward (step.h): L, and from it the output or the next aR.
//
// A task takes a few columns j; each is a small attention problem of its own, I queries against K
// rows. Cost: 4 I K P D operations.
#include "monarch/attention/cpu/step_kernel.h"

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

struct Scratch {
  float* q;           // [I, D]
  float* q_t;         // [D, I]
  float* scores;      // [K, tile]
  float* out;         // [tile, D]
  float* row_max;     // [tile]
  float* row_sum;     // [tile]
  float* correction;  // [tile]
  float* c_r;         // [K]
  float* ones;        // [K]
  std::size_t size;

  Scratch(const StepArgs& args, float* base) {
    ScratchCutter take(base);
    const std::int64_t width = packed_width(args.head_dim);
    const std::int64_t tile = column_tile(args);
    q = take(args.queries * width);
    q_t = take(round_up(args.head_dim, 4) * padded_columns(static_cast<int>(args.queries)));
    scores = take(args.rows * tile);
    out = take(tile * width);
    for (float** piece : {&row_max, &row_sum, &correction}) *piece = take(tile);
    for (float** piece : {&c_r, &ones}) *piece = take(args.rows);
    size = take.used();
  }
};

// L of `count` queries times what divides it: scores hold 2^(W - max), row_sum its inverse sum.
void output(const StepArgs& args, const Scratch& scratch, std::int64_t j, std::int64_t first,
            std::int64_t count, std::int64_t padded) {
  const std::int64_t width = packed_width(args.head_dim);
  multiply(Form::kColumns, static_cast<int>(count), static_cast<int>(args.head_dim),
           static_cast<int>(args.rows), scratch.scores, padded, args.y + j * args.rows * width,
           width, scratch.out, width);
  for (std::int64_t t = 0; t < count; ++t) {
    store_row(scratch.out + t * width, scratch.row_sum[t], args.result.data, args.result.dtype,
              args.q_tokens[(first + t) * args.cols + j] * args.result.token_stride, args.head_dim);
  }
}

// Adds the queries' part to cR and to aR, which still lacks its factor.
void next_queries(const StepArgs& args, const Scratch& scratch, std::int64_t j, std::int64_t first,
                  std::int64_t count, std::int64_t padded) {
  const std::int64_t width = packed_width(args.head_dim);
  for (std::int64_t t = count; t < padded; ++t) scratch.row_sum[t] = 0.0F;
  for (std::int64_t k = 0; k < args.rows; ++k) {
    float* l = scratch.scores + k * padded;
    Vec<kLanes> total{};
    for (std::int64_t t = 0; t < padded; t += kLanes) {
      const Vec<kLanes> weight = load<kLanes>(l + t) * load<kLanes>(scratch.row_sum + t);
      store<kLanes>(l + t, weight);
      total += weight;
    }
    scratch.c_r[k] += sum<kLanes>(total);
  }
  multiply(Form::kRows, static_cast<int>(args.rows), static_cast<int>(args.head_dim),
           static_cast<int>(count), scratch.scores, padded, scratch.q + first * width, width,
           args.next_a_r + j * args.rows * width, width, first == 0 ? nullptr : scratch.ones);
}

void column(const StepArgs& args, const Scratch& scratch, std::int64_t j) {
  const std::int64_t width = packed_width(args.head_dim);
  const std::int64_t all = padded_columns(static_cast<int>(args.queries));
  const std::int64_t tile = column_tile(args);
  load_column(args, args.q, j, args.scale_log2, scratch.q);
  transpose(scratch.q, width, args.queries, all, round_up(args.head_dim, 4), scratch.q_t, all);
  for (std::int64_t k = 0; k < args.rows; ++k) {
    scratch.c_r[k] = 0.0F;
    scratch.ones[k] = 1.0F;
  }
  for (std::int64_t first = 0; first < args.queries; first += tile) {
    const std::int64_t count = args.queries - first < tile ? args.queries - first : tile;
    const std::int64_t padded = padded_columns(static_cast<int>(count));
    multiply(Form::kRows, static_cast<int>(args.rows), static_cast<int>(count),
             static_cast<int>(args.head_dim), args.a_l + j * args.rows * width, width,
             scratch.q_t + first, all, scratch.scores, padded);
    for (std::int64_t t = 0; t < padded; t += kLanes) {
      store<kLanes>(scratch.row_max + t, broadcast<kLanes>(-__builtin_inff()));
      store<kLanes>(scratch.row_sum + t, Vec<kLanes>{});
      running_softmax<kLanes>(scratch.scores + t, padded, args.rows, args.c_l + j * args.rows, 1,
                              scratch.row_max + t, scratch.row_sum + t, scratch.correction + t);
      store<kLanes>(scratch.row_sum + t, 1.0F / load<kLanes>(scratch.row_sum + t));
    }
    if (args.last) {
      output(args, scratch, j, first, count, padded);
    } else {
      next_queries(args, scratch, j, first, count, padded);
    }
  }
  if (args.last) return;
  for (std::int64_t k = 0; k < args.rows; ++k) {
    const std::int64_t at = j * args.rows + k;
    const float factor = inverse_c_r(args, scratch.c_r[k]);
    float* row = args.next_a_r + at * width;
    for (std::int64_t d = 0; d < width; ++d) row[d] *= factor;
    if (args.next_c_r != nullptr) args.next_c_r[at] = scratch.c_r[k];
  }
}

}  // namespace

std::size_t step_columns_workspace(const StepArgs& args) { return Scratch(args, nullptr).size; }

void step_columns(const StepArgs& all, std::int64_t index, float* workspace) {
  const std::int64_t runs = (all.cols + all.column_run - 1) / all.column_run;
  const StepArgs args = of_unit(all, index / runs);
  const Scratch scratch(args, workspace);
  const std::int64_t first = index % runs * args.column_run;
  const std::int64_t last =
      first + args.column_run < args.cols ? first + args.column_run : args.cols;
  for (std::int64_t j = first; j < last; ++j) column(args, scratch, j);
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
