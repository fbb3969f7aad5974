// Gradients of exact attention of a tile of queries over a run of keys: the loop that dense
// attention and both operators' first halves share. Scores and the queries they come from are in
// base 2, so S = Q·K, P = 2^(S - lse), and gradients are those with respect to this Q:
//
//   x[u,t]  = Gv[t]·V[u] + Gk[t]·K[u] + c[t] log2 P          what P is multiplied with further on
//   dS[u,t] = ln 2 P (x - delta[t])                          delta[t] = Σ_u P x, known beforehand
//   dV[u] += Σ_t P Gv[t]    dK[u] += Σ_t P Gk[t] + dS Q[t]    dQ[t] += Σ_u dS K[u]
//
// Gv is the gradient of Σ_u P V[u], Gk that of Σ_u P K[u], c that of Σ_u P log2 P; dense attention
// has the first alone. dK and dV are summed in memory, where a tile of 160 queries makes the
// traffic small beside the products. Cost: 10 operations a score and dimension with Gv, 14 with
// both.
#pragma once

#include "monarch/attention/cpu/rows.h"
#include "monarch/attention/cpu/scratch.h"
#include "monarch/attention/cpu/softmax.h"
#include "monarch/attention/cpu/tile_product.h"

namespace monarch::attention::cpu::MONARCH_ISA {

inline constexpr std::int64_t kGradientQueryTile = 160;
inline constexpr std::int64_t kGradientKeyTile = 96;
// Keys whose dS may wait: what queries gather from several short tiles is one product.
inline constexpr std::int64_t kGradientKeysWaiting = 192;

// Which gradients come in.
struct GradientWork {
  bool keys = false;     // Gk
  bool values = false;   // Gv
  bool entropy = false;  // c
};

struct GradientScratch {
  static constexpr std::int64_t kMostOnes =
      kGradientQueryTile > kGradientKeysWaiting ? kGradientQueryTile : kGradientKeysWaiting;

  float* q;      // [T, D]
  float* g_k;    // [T, D]
  float* g_v;    // [T, D]
  float* q_t;    // [D, T]
  float* g_k_t;  // [D, T]
  float* g_v_t;  // [D, T]
  float* dq;     // [T, D]
  float* k;      // [waiting U, D]
  float* v;      // [U, D]
  float* dk;     // [U, D] where dK and dV are not summed elsewhere
  float* dv;     // [U, D]
  float* p;      // [U, T]
  float* x;      // [waiting U, T]
  float* lse;    // [T] base 2
  float* delta;  // [T]
  float* c;      // [T]
  float* ones;   // [max(T, waiting U)]
  std::size_t size;

  // With a null base only `size` means anything.
  GradientScratch(std::int64_t head_dim, float* base) {
    ScratchCutter take(base);
    const std::int64_t width = packed_width(head_dim);
    const std::int64_t depth = round_up(head_dim, 4);
    for (float** rows : {&q, &g_k, &g_v, &dq}) *rows = take(kGradientQueryTile * width);
    for (float** columns : {&q_t, &g_k_t, &g_v_t}) *columns = take(depth * kGradientQueryTile);
    for (float** rows : {&v, &dk, &dv}) *rows = take(kGradientKeyTile * width);
    k = take(kGradientKeysWaiting * width);
    p = take(kGradientKeyTile * kGradientQueryTile);
    x = take(kGradientKeysWaiting * kGradientQueryTile);
    for (float** column : {&lse, &delta, &c}) *column = take(kGradientQueryTile);
    ones = take(kMostOnes);
    size = take.used();
  }
};

// q, g_k and g_v [queries, D] are in place, q perhaps since the last time; everything else but lse,
// delta and c follows from them.
MONARCH_INLINE void gradient_begin(const GradientScratch& scratch, const GradientWork& work,
                                   std::int64_t head_dim, std::int64_t queries,
                                   bool new_queries = true) {
  const std::int64_t width = packed_width(head_dim);
  const std::int64_t depth = round_up(head_dim, 4);
  const std::int64_t padded = padded_columns(static_cast<int>(queries));
  if (new_queries) transpose(scratch.q, width, queries, padded, depth, scratch.q_t, padded);
  if (work.keys) transpose(scratch.g_k, width, queries, padded, depth, scratch.g_k_t, padded);
  if (work.values) transpose(scratch.g_v, width, queries, padded, depth, scratch.g_v_t, padded);
  for (std::int64_t at = 0; at < GradientScratch::kMostOnes; ++at) scratch.ones[at] = 1.0F;
}

// One column of vectors: scores (or log2 P, if `known`) in p -> P, and x -> dS.
MONARCH_INLINE void softmax_gradient(const float* scores, bool known, float* p, float* x,
                                     std::ptrdiff_t stride, std::int64_t count, Vec<kLanes> lse,
                                     Vec<kLanes> delta, const float* c) {
  const Vec<kLanes> shift = known ? Vec<kLanes>{} : lse;
  const Vec<kLanes> c_t = c == nullptr ? Vec<kLanes>{} : load<kLanes>(c);
  for (std::int64_t u = 0; u < count; ++u) {
    const Vec<kLanes> log_p = load<kLanes>(scores + u * stride) - shift;
    const Vec<kLanes> weight = exp2<kLanes>(log_p);
    Vec<kLanes> value = load<kLanes>(x + u * stride);
    if (c != nullptr) value += c_t * bounded<kLanes>(log_p);
    store<kLanes>(p + u * stride, weight);
    store<kLanes>(x + u * stride, kLn2 * weight * (value - delta));
  }
}

// The tile's queries against `count` keys, after `waiting` others whose dS the queries have not
// gathered yet. scratch.k, from row `waiting` on, and scratch.v hold the keys; dk and dv [count, D]
// are added to, or overwritten if `fresh`. `log_p` [count, padded queries] if it was kept, else
// null. `ahead`: what to bring in meanwhile.
MONARCH_INLINE void gradient_keys(const GradientScratch& scratch, const GradientWork& work,
                                  std::int64_t head_dim, std::int64_t queries, std::int64_t waiting,
                                  std::int64_t count, const float* log_p, float* dk, float* dv,
                                  bool fresh = false, Ahead* ahead = nullptr) {
  const float* added = fresh ? nullptr : scratch.ones;
  const std::int64_t width = packed_width(head_dim);
  const int depth = static_cast<int>(head_dim);
  const int columns = static_cast<int>(queries);
  const int keys = static_cast<int>(count);
  const std::int64_t padded = padded_columns(columns);
  const float* k = scratch.k + waiting * width;
  float* x = scratch.x + waiting * padded;
  const float* scores = log_p == nullptr ? scratch.p : log_p;
  if (ahead != nullptr) {
    const int scored = 2 + (log_p == nullptr ? 1 : 0);
    ahead->spread((scored * keys * padded + 3 * keys * width) / kLanes / 24);
  }
  if (log_p == nullptr) {
    multiply(Form::kRows, keys, columns, depth, k, width, scratch.q_t, padded, scratch.p, padded,
             nullptr, ahead);
  }
  if (work.values) {
    multiply(Form::kRows, keys, columns, depth, scratch.v, width, scratch.g_v_t, padded, x, padded,
             nullptr, ahead);
  }
  if (work.keys) {
    multiply(Form::kRows, keys, columns, depth, k, width, scratch.g_k_t, padded, x, padded,
             work.values ? scratch.ones : nullptr, ahead);
  }
  for (std::int64_t t = 0; t < padded; t += kLanes) {
    softmax_gradient(scores + t, log_p != nullptr, scratch.p + t, x + t, padded, count,
                     load<kLanes>(scratch.lse + t), load<kLanes>(scratch.delta + t),
                     work.entropy ? scratch.c + t : nullptr);
  }
  if (work.values) {
    multiply(Form::kRows, keys, depth, columns, scratch.p, padded, scratch.g_v, width, dv, width,
             added, ahead);
  }
  if (work.keys) {
    multiply(Form::kRows, keys, depth, columns, scratch.p, padded, scratch.g_k, width, dk, width,
             added, ahead);
  }
  multiply(Form::kRows, keys, depth, columns, x, padded, scratch.q, width, dk, width,
           work.keys ? scratch.ones : added, ahead);
}

// Adds to dQ what the waiting keys give.
MONARCH_INLINE void gradient_queries(const GradientScratch& scratch, std::int64_t head_dim,
                                     std::int64_t queries, std::int64_t waiting) {
  const std::int64_t width = packed_width(head_dim);
  const int columns = static_cast<int>(queries);
  multiply(Form::kColumns, columns, static_cast<int>(head_dim), static_cast<int>(waiting),
           scratch.x, padded_columns(columns), scratch.k, width, scratch.dq, width, scratch.ones);
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
