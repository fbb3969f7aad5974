// The rows of a Monarch step, backward (step.h): exact attention of P queries aR over the L keys of
// a row, whose output is (aL, Y) and whose entropy is -cL. flash_backward.h has the formulas, with
// Gk = daL, Gv = dY, c = dcL and delta from the columns.
//
//   d aR[k,j] -> dA[k,j] = g(cR) d aR     dcR[k,j] = -g(cR) aR·d aR, zero where cR + a < b
//   in the first iteration aR = g(1) q~, and dq~[k mod I, j] += Σ_{k = i, i + I, ...} dA
//
// A task takes the rows k = i, i + I, ... of some i. Long rows are cut into groups of queries and
// of keys, visited as in dense_backward.cpp. Cost: 10 K P L D operations, 14 in the last iteration.
#include "monarch/attention/cpu/flash_backward.h"
#include "monarch/attention/cpu/step_kernel.h"

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

// Queries (k, j), j = first .. first + count - 1, and what flows into their outputs. Rows of the
// first iteration have the same aR: it is loaded when `queries` says so.
void load_tile(const StepArgs& args, const GradientScratch& scratch, const GradientWork& work,
               std::int64_t k, std::int64_t first, std::int64_t count, bool queries) {
  const std::int64_t width = packed_width(args.head_dim);
  if (queries) load_a_r(args, k, first, count, scratch.q);
  for (std::int64_t t = 0; t < count; ++t) {
    const std::int64_t at = (first + t) * args.rows + k;
    load_row(args.a_l, DType::kF32, at * width, width, width, 1.0F, scratch.g_k + t * width);
    if (work.values) {
      load_row(args.y, DType::kF32, at * width, width, width, 1.0F, scratch.g_v + t * width);
    }
    if (args.log_r == nullptr) scratch.lse[t] = args.row_lse[k * args.cols + first + t];
    scratch.delta[t] = args.delta[at];
    scratch.c[t] = args.c_l[at];
  }
  gradient_begin(scratch, work, args.head_dim, count, queries);
}

// d aR of the tile is complete for this step: on to the iteration before.
void pass_on(const StepArgs& args, const GradientScratch& scratch, std::int64_t k,
             std::int64_t first, std::int64_t count) {
  const std::int64_t width = packed_width(args.head_dim);
  const std::int64_t used = padded_columns(static_cast<int>(args.head_dim));  // a product's columns
  for (std::int64_t t = 0; t < count; ++t) {
    const std::int64_t at = (first + t) * args.rows + k;
    const float* row = scratch.dq + t * width;
    const float factor = inverse_c_r(args, args.c_r[at]);
    const bool clamped = args.c_r[at] + args.c_r_add < args.c_r_min;
    const float dc_r = clamped ? 0.0F : -factor * dot(scratch.q + t * width, row, used);
    float* da_r = args.da_r + at * width;
    if (args.step == 0) {
      for (std::int64_t d = 0; d < width; ++d) da_r[d] = factor * row[d];
      args.dc_r[at] = dc_r;
    } else {
      for (std::int64_t d = 0; d < width; ++d) da_r[d] += factor * row[d];
      args.dc_r[at] += dc_r;
    }
  }
}

// What row k needs of memory, if it is short enough to be taken at once.
Ahead row_ahead(const StepArgs& args, std::int64_t k) {
  Ahead ahead;
  if (k < 0 || args.keys > kGradientKeyTile) return ahead;
  const std::int64_t row = args.keys * packed_width(args.head_dim);
  add_row_of(args, args.a_l, k, ahead);
  if (args.last) add_row_of(args, args.y, k, ahead);
  if (args.log_r != nullptr) {
    const std::int64_t count = args.keys * padded_columns(static_cast<int>(args.cols));
    ahead.add(args.log_r + k * count, count);
  }
  add_keys(args, args.k, k, ahead);
  if (args.last) add_keys(args, args.v, k, ahead);
  if (args.dk != nullptr) {
    ahead.add(args.dk + k * row, row);
    if (args.last) ahead.add(args.dv + k * row, row);
  }
  return ahead;
}

// dq of the tile's queries of i: what all rows of the first iteration gave.
void add_queries(const StepArgs& args, const GradientScratch& scratch, std::int64_t i,
                 std::int64_t first, std::int64_t count) {
  const std::int64_t width = packed_width(args.head_dim);
  const float factor = inverse_c_r(args, 1.0F);
  for (std::int64_t t = 0; t < count; ++t) {
    float* to = args.dq + (i * args.cols + first + t) * width;
    const float* row = scratch.dq + t * width;
    for (std::int64_t d = 0; d < width; ++d) to[d] += factor * row[d];
  }
}

// Complete gradients of keys of row k to their tensors.
void store_keys(const StepArgs& args, const GradientScratch& scratch, std::int64_t k,
                std::int64_t first, std::int64_t count) {
  const std::int64_t width = packed_width(args.head_dim);
  const std::int64_t* tokens = args.k_tokens + k * args.keys + first;
  for (std::int64_t l = 0; l < count; ++l) {
    stream_row(scratch.dk + l * width, args.grad_k.data, args.grad_k.dtype,
               tokens[l] * args.grad_k.token_stride, args.head_dim);
    stream_row(scratch.dv + l * width, args.grad_v.data, args.grad_v.dtype,
               tokens[l] * args.grad_v.token_stride, args.head_dim);
  }
}

void tile_gradients(const StepArgs& args, const GradientScratch& scratch, const RowRun& run,
                    std::int64_t first, std::int64_t count, std::int64_t begin, std::int64_t end) {
  const GradientWork work{.keys = true, .values = args.last, .entropy = args.entropy_gradient};
  const std::int64_t width = packed_width(args.head_dim);
  const std::int64_t padded = padded_columns(static_cast<int>(args.cols));
  const std::int64_t pieces = (end - begin + kGradientKeyTile - 1) / kGradientKeyTile;
  const bool direct = args.dk == nullptr;
  std::int64_t waiting = 0;
  for (std::int64_t k = run.first; k >= 0; k = run.after(args, k)) {
    const bool fresh = !args.first || k < args.queries;
    const bool last_of_queries = !args.first || k + args.queries >= args.rows;
    load_tile(args, scratch, work, k, first, count, fresh);
    if (fresh) {
      for (std::int64_t at = 0; at < count * width; ++at) scratch.dq[at] = 0.0F;
    }
    Ahead ahead = row_ahead(args, run.after(args, k));
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      const std::int64_t key = begin + piece * (end - begin) / pieces;
      const std::int64_t keys = begin + (piece + 1) * (end - begin) / pieces - key;
      load_keys(args, args.k, k, key, keys, scratch.k + waiting * width);
      if (work.values) load_keys(args, args.v, k, key, keys, scratch.v);
      const std::int64_t row = (k * args.keys + key) * width;
      gradient_keys(scratch, work, args.head_dim, count, waiting, keys,
                    args.log_r == nullptr ? nullptr : args.log_r + k * args.keys * padded,
                    direct ? scratch.dk : args.dk + row, direct ? scratch.dv : args.dv + row,
                    direct, &ahead);
      if (direct) store_keys(args, scratch, k, key, keys);
      waiting += keys;
      // Pieces are of nearly equal size: the next has at most one key more.
      const bool last = last_of_queries && piece + 1 == pieces;
      if (last || waiting + keys + 1 > kGradientKeysWaiting) {
        gradient_queries(scratch, args.head_dim, count, waiting);
        waiting = 0;
      }
    }
    if (!args.first) {
      pass_on(args, scratch, k, first, count);
    } else if (last_of_queries) {
      add_queries(args, scratch, k % args.queries, first, count);
    }
  }
}

}  // namespace

std::size_t step_rows_backward_workspace(const StepArgs& args) {
  return GradientScratch(args.head_dim, nullptr).size;
}

void step_rows_backward(const StepArgs& all, std::int64_t index, float* workspace) {
  const std::int64_t group = index % all.grid;
  const std::int64_t other = (group + all.step) % all.grid;
  const std::int64_t runs = (all.queries + all.row_run - 1) / all.row_run;
  const RowRun run(all, index / all.grid % runs);
  const StepArgs args = of_unit(all, index / all.grid / runs);
  const GradientScratch scratch(args.head_dim, workspace);
  const std::int64_t begin = args.keys * other / args.grid;
  const std::int64_t end = args.keys * (other + 1) / args.grid;
  const std::int64_t last = args.cols * (group + 1) / args.grid;
  for (std::int64_t first = args.cols * group / args.grid; first < last;
       first += kGradientQueryTile) {
    const std::int64_t rest = last - first;
    tile_gradients(args, scratch, run, first, rest < kGradientQueryTile ? rest : kGradientQueryTile,
                   begin, end);
  }
  streamed();
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
