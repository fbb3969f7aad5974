// The columns of a Monarch step, backward (step.h). With W2 = q~·aL - cL the scores in base 2, G
// the gradient of O and S the gradients that come in, S = Y and G in the last iteration, else dA
// and q~:
//
//   dL[i,k]  = S[k]·G[i]  (last)  or  dA[k]·q~[i] + dcR[k]        dA = g(cR) d aR
//   dW[i,k]  = ln 2 L (dL - Σ_k L dL)            the gradient of W2
//   dq~[i]  += Σ_k dW aL[k]   (+ Σ_k L dA[k])     daL[k] = Σ_i dW q~[i]     dY[k] = Σ_i L G[i]
//   (last) dcL[k]   = -Σ_i dW delta[k] = daL·aL + dcL cL + dY·Y = Σ_i dW W2 + Σ_i L dL    what the
//   rows' softmax subtracts
//
// daL, dcL and dY take the places of aL, cL and Y. Where only some of the rows are at hand, the
// softmax's normaliser and Σ_k L dL = G·O come from the forward. Cost: 10 I K P D operations.
#include "monarch/attention/cpu/step_kernel.h"

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

constexpr float kLog2E = 1.44269504F;

struct Scratch {
  float* q;      // [I, D]
  float* q_t;    // [D, I]
  float* g;      // [I, D]
  float* g_t;    // [D, I]
  float* w;      // [K, tile] W2, then dW
  float* l;      // [K, tile] dL, then L
  float* lse;    // [I] base 2
  float* mean;   // [I] Σ_k L dL
  float* dc_l;   // [K]
  float* delta;  // [K]
  float* ones;   // [max(I, K)]
  float* da_l;   // [K, D] where a column takes several tiles
  float* dy;     // [K, D] likewise
  std::size_t size;

  Scratch(const StepArgs& args, float* base) {
    ScratchCutter take(base);
    const std::int64_t width = packed_width(args.head_dim);
    const std::int64_t depth = round_up(args.head_dim, 4);
    const std::int64_t all = padded_columns(static_cast<int>(args.queries));
    const std::int64_t tile = column_tile(args);
    for (float** piece : {&q, &g}) *piece = take(args.queries * width);
    for (float** piece : {&q_t, &g_t}) *piece = take(depth * all);
    for (float** piece : {&w, &l}) *piece = take(args.rows * tile);
    for (float** piece : {&lse, &mean}) *piece = take(all);
    for (float** piece : {&dc_l, &delta}) *piece = take(args.rows);
    ones = take(args.queries > args.rows ? args.queries : args.rows);
    const bool several = tile < all;
    for (float** piece : {&da_l, &dy}) *piece = take(several ? args.rows * width : 0);
    size = take.used();
  }
};

// G of column j; with the forward's out and lse, also what they give.
void load_gradients(const StepArgs& args, const Scratch& scratch, std::int64_t j) {
  const std::int64_t width = packed_width(args.head_dim);
  load_column(args, args.grad_out, j, 1.0F, scratch.g);
  for (std::int64_t i = 0; i < args.queries; ++i) {
    if (args.q_tokens[i * args.cols + j] >= args.zero_tokens) continue;
    for (std::int64_t d = 0; d < width; ++d) scratch.g[i * width + d] = 0.0F;
  }
  if (args.lse == nullptr) return;
  load_column(args, args.out, j, 1.0F, scratch.q);  // not queries yet
  for (std::int64_t i = 0; i < args.queries; ++i) {
    scratch.mean[i] = dot(scratch.g + i * width, scratch.q + i * width, width);
    scratch.lse[i] = args.lse[args.q_tokens[i * args.cols + j]] * kLog2E;
  }
}

// The normaliser of every query's softmax over the rows, and Σ_k L dL.
MONARCH_INLINE void normalise(const float* w, const float* dl, std::ptrdiff_t stride,
                              std::int64_t rows, float* lse, float* mean) {
  Vec<kLanes> maximum = load<kLanes>(w);
  for (std::int64_t k = 1; k < rows; ++k)
    maximum = max<kLanes>(maximum, load<kLanes>(w + k * stride));
  Vec<kLanes> total{};
  Vec<kLanes> weighted{};
  for (std::int64_t k = 0; k < rows; ++k) {
    const Vec<kLanes> p = exp2<kLanes>(load<kLanes>(w + k * stride) - maximum);
    total += p;
    weighted += p * load<kLanes>(dl + k * stride);
  }
  store<kLanes>(lse, maximum + log2<kLanes>(total));
  store<kLanes>(mean, weighted / total);
}

// W2 and dL -> dW and L; their sums over the tile into dc_l and delta.
void softmax_gradients(const StepArgs& args, const Scratch& scratch, std::int64_t j,
                       std::int64_t first, std::int64_t count, std::int64_t padded) {
  const float* c_l = args.c_l + j * args.rows;
  for (std::int64_t k = 0; k < args.rows; ++k) {
    const float dc_r = args.last ? 0.0F : args.dc_r[j * args.rows + k];
    for (std::int64_t t = 0; t < padded; t += kLanes) {
      float* w = scratch.w + k * padded + t;
      float* dl = scratch.l + k * padded + t;
      store<kLanes>(w, load<kLanes>(w) - c_l[k]);
      store<kLanes>(dl, load<kLanes>(dl) + dc_r);
    }
  }
  if (args.lse == nullptr) {
    for (std::int64_t t = 0; t < padded; t += kLanes) {
      normalise(scratch.w + t, scratch.l + t, padded, args.rows, scratch.lse + first + t,
                scratch.mean + first + t);
    }
  }
  for (std::int64_t t = count; t < padded; ++t) {  // no weight in the padding
    scratch.lse[first + t] = __builtin_inff();
    scratch.mean[first + t] = 0.0F;
  }
  for (std::int64_t k = 0; k < args.rows; ++k) {
    // Where the entropy is a constant, aL alone is behind the gradient, and q~·aL = W2 + cL.
    const float constant = args.entropy_gradient ? 0.0F : c_l[k];
    Vec<kLanes> total{};
    Vec<kLanes> weighted{};
    for (std::int64_t t = 0; t < padded; t += kLanes) {
      float* w = scratch.w + k * padded + t;
      float* dl = scratch.l + k * padded + t;
      const Vec<kLanes> score = load<kLanes>(w);
      const Vec<kLanes> gradient = load<kLanes>(dl);
      const Vec<kLanes> weight = exp2<kLanes>(score - load<kLanes>(scratch.lse + first + t));
      const Vec<kLanes> dw = kLn2 * weight * (gradient - load<kLanes>(scratch.mean + first + t));
      total += dw;
      weighted += dw * (score + constant);
      if (args.last) weighted += weight * gradient;
      store<kLanes>(w, dw);
      store<kLanes>(dl, weight);
    }
    scratch.dc_l[k] -= sum<kLanes>(total);
    scratch.delta[k] += sum<kLanes>(weighted);
  }
}

void column(const StepArgs& args, Scratch scratch, std::int64_t j) {
  const std::int64_t width = packed_width(args.head_dim);
  const std::int64_t depth = round_up(args.head_dim, 4);
  const std::int64_t all = padded_columns(static_cast<int>(args.queries));
  const std::int64_t tile = column_tile(args);
  const bool several = tile < all;
  const int rows = static_cast<int>(args.rows);
  const int dim = static_cast<int>(args.head_dim);
  float* a_l = args.a_l + j * args.rows * width;
  float* y = args.last ? args.y + j * args.rows * width : nullptr;
  const float* da_r = args.last ? nullptr : args.da_r + j * args.rows * width;
  float* da_l = several ? scratch.da_l : a_l;
  float* dy = several ? scratch.dy : y;

  const std::int64_t queries = args.queries * width;
  const bool packed = args.q_cols != nullptr;
  if (packed) {
    scratch.q = args.q_cols + j * queries;
    scratch.g = args.g_cols + j * queries;
    scratch.lse = args.query_lse + j * all;
    scratch.mean = args.mean + j * all;
  }
  if (!packed || args.fresh) {
    if (args.last) load_gradients(args, scratch, j);
    load_column(args, args.q, j, args.scale_log2, scratch.q);
  }
  if (args.last) transpose(scratch.g, width, args.queries, all, depth, scratch.g_t, all);
  transpose(scratch.q, width, args.queries, all, depth, scratch.q_t, all);
  for (std::int64_t k = 0; k < args.rows; ++k) scratch.dc_l[k] = scratch.delta[k] = 0.0F;
  for (std::int64_t at = 0; at < (args.queries > args.rows ? args.queries : args.rows); ++at)
    scratch.ones[at] = 1.0F;

  const float* sources = args.last ? y : da_r;
  Streams next(a_l + args.rows * width, sources + args.rows * width);
  Ahead ahead;
  if (j + 1 < args.cols) {
    if (packed && !args.fresh) {
      ahead.add(scratch.q + queries, queries);
      ahead.add(scratch.g + queries, queries);
    } else {
      add_column(args, args.q, j + 1, ahead);
      if (args.last) add_column(args, args.grad_out, j + 1, ahead);
      if (args.lse != nullptr) add_column(args, args.out, j + 1, ahead);
    }
    ahead.spread((2 * args.rows * all + (2 * args.rows + args.queries) * width) / kLanes / 24);
  }
  for (std::int64_t first = 0; first < args.queries; first += tile) {
    const std::int64_t rest = args.queries - first;
    const int count = static_cast<int>(rest < tile ? rest : tile);
    const std::int64_t padded = padded_columns(count);
    const float* added = first == 0 ? nullptr : scratch.ones;  // to what earlier tiles left
    multiply(Form::kRows, rows, count, dim, a_l, width, scratch.q_t + first, all, scratch.w, padded,
             nullptr, &ahead, &next);
    multiply(Form::kRows, rows, count, dim, sources, width,
             (args.last ? scratch.g_t : scratch.q_t) + first, all, scratch.l, padded, nullptr,
             &ahead);
    softmax_gradients(args, scratch, j, first, count, padded);

    float* dq = args.dq + (first * args.cols + j) * width;
    const std::int64_t dq_stride = args.cols * width;
    multiply(Form::kColumns, count, dim, rows, scratch.w, padded, a_l, width, dq, dq_stride,
             args.fresh ? nullptr : scratch.ones, &ahead);
    if (args.last) {
      multiply(Form::kRows, rows, dim, count, scratch.l, padded, scratch.g + first * width, width,
               dy, width, added, &ahead);
    } else {
      multiply(Form::kColumns, count, dim, rows, scratch.l, padded, da_r, width, dq, dq_stride,
               scratch.ones);
    }
    multiply(Form::kRows, rows, dim, count, scratch.w, padded, scratch.q + first * width, width,
             da_l, width, added, &ahead);
  }
  if (several) {
    for (std::int64_t at = 0; at < args.rows * width; ++at) a_l[at] = da_l[at];
    if (args.last) {
      for (std::int64_t at = 0; at < args.rows * width; ++at) y[at] = dy[at];
    }
  }
  for (std::int64_t k = 0; k < args.rows; ++k) {
    const std::int64_t at = j * args.rows + k;
    const float dc_l = args.entropy_gradient ? scratch.dc_l[k] : 0.0F;
    args.delta[at] = scratch.delta[k];
    args.c_l[at] = dc_l;
  }
}

}  // namespace

std::size_t step_columns_backward_workspace(const StepArgs& args) {
  return Scratch(args, nullptr).size;
}

void step_columns_backward(const StepArgs& all, std::int64_t index, float* workspace) {
  const std::int64_t runs = (all.cols + all.column_run - 1) / all.column_run;
  const StepArgs args = of_unit(all, index / runs);
  const Scratch scratch(args, workspace);
  const std::int64_t first = index % runs * args.column_run;
  const std::int64_t last =
      first + args.column_run < args.cols ? first + args.column_run : args.cols;
  for (std::int64_t j = first; j < last; ++j) column(args, scratch, j);
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
