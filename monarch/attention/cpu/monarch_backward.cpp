// Monarch attention, backward, one refinement step; recomputes what the forward did not keep. s =
// softmax scale
//   G = d loss / d O      D[i,j] = G·O      q~ = s Q      the rest as in monarch_forward.cpp; R, L
//   from it dL = G·Y              dY = Σ_i L G                       dy = L (dL - D) daL = Σ_i dy
//   q~       dcL = -Σ_i dy                      dQ[i,j] += s Σ_k dy aL x_l = daL·K + dcL log R +
//   dY·V                           dz = R (x - Σ_l R x) dK[k,l] += Σ_j R daL + dz q~       dV[k,l]
//   += Σ_j R dY       dQ[k,j] += s Σ_l dz K
//
// A task is one head. For each pair of a query block a and a key block f, three passes:
//   rows k       S, R, aL, Y as in the forward; log R is kept
//   columns j    L from the forward's log-sum-exp; dL, dY, daL, and dQ's first part
//   rows k       x, dz; dK, dV and dQ's second part
// dK and dV of the head are summed in float in the workspace: its size is linear in the number of
// keys. Cost: 18 I J² D + 10 I² J D operations a block pair, 2.8 times the forward.
#include "monarch/attention/cpu/kernels.h"
#include "monarch/attention/cpu/rows.h"
#include "monarch/attention/cpu/softmax.h"
#include "monarch/attention/cpu/tile_product.h"

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

struct Sizes {
  std::int64_t rows;         // I
  std::int64_t cols;         // J = L
  std::int64_t width;        // packed head_dim
  std::int64_t depth;        // head_dim in whole groups of four
  std::int64_t padded_rows;  // I for vectors along i
  std::int64_t padded_cols;  // J for vectors along j
  std::int64_t keys;         // of the whole head

  explicit Sizes(const MonarchBackwardArgs& args)
      : rows(args.layout.block_rows()),
        cols(args.layout.block_cols()),
        width(packed_width(args.head_dim)),
        depth(round_up(args.head_dim, 4)),
        padded_rows(padded_columns(static_cast<int>(rows))),
        padded_cols(padded_columns(static_cast<int>(cols))),
        keys(args.num_kv_blocks * args.layout.block_tokens()) {}
};

struct Scratch {
  float* dk;        // [keys, D] in block order
  float* dv;        // [keys, D]
  float* q_by_row;  // [I, D, J]  s log2(e) Q
  float* q_by_col;  // [J, D, I]  s log2(e) Q
  float* g_by_col;  // [J, D, I]  G
  float* q;         // [J, I, D]  q~
  float* g;         // [J, I, D]  G
  float* dq;        // [J, I, D]  without the factor s
  float* a_l;       // [J, I, D]
  float* y;         // [J, I, D]
  float* da_l;      // [J, I, D]
  float* dy_v;      // [J, I, D]  dY
  float* log_r;     // [I, L, J]  log2 R
  float* c_l;       // [I, J]     base 2
  float* dc_l;      // [I, J]     times ln 2, for log2 R
  float* lse;       // [J, I]     base 2; infinite in the padding, so that L is zero there
  float* delta;     // [J, I]     D
  float* k_row;     // [L, D]
  float* v_row;     // [L, D]
  float* scores;    // [L, J] or [I, I]
  float* other;     // the same
  float* da_l_t;    // [D, J]
  float* dy_v_t;    // [D, J]
  float* ones;      // [max(I, J)]
  std::size_t size;

  // With a null base only `size` means anything.
  Scratch(const Sizes& s, float* base) {
    std::size_t used = 0;
    const auto take = [&](std::int64_t count) {
      float* piece = base == nullptr ? nullptr : base + used;
      used += static_cast<std::size_t>(round_up(count, 16));
      return piece;
    };
    const std::int64_t block = s.cols * s.rows * s.width;
    dk = take(s.keys * s.width);
    dv = take(s.keys * s.width);
    q_by_row = take(s.rows * s.depth * s.padded_cols);
    q_by_col = take(s.cols * s.depth * s.padded_rows);
    g_by_col = take(s.cols * s.depth * s.padded_rows);
    for (float** piece : {&q, &g, &dq, &a_l, &y, &da_l, &dy_v}) *piece = take(block);
    log_r = take(s.rows * s.cols * s.padded_cols);
    c_l = take(s.rows * s.padded_cols);
    dc_l = take(s.rows * s.padded_cols);
    lse = take(s.cols * s.padded_rows);
    delta = take(s.cols * s.padded_rows);
    k_row = take(s.cols * s.width);
    v_row = take(s.cols * s.width);
    const std::int64_t first = s.cols * s.padded_cols;
    const std::int64_t second = s.rows * s.padded_rows;
    scores = take(first > second ? first : second);
    other = take(first > second ? first : second);
    da_l_t = take(s.depth * s.padded_cols);
    dy_v_t = take(s.depth * s.padded_cols);
    ones = take(s.rows > s.cols ? s.rows : s.cols);
    size = used;
  }
};

struct Head {
  std::int64_t batch;
  std::int64_t head;
  template <typename T>
  std::int64_t offset(const BasicOperand<T>& operand) const {
    return batch * operand.batch_stride + head * operand.head_stride;
  }
};

MONARCH_INLINE std::int64_t row_start(const BlockLayout& layout, bool block_order,
                                      std::int64_t block, std::int64_t row) {
  const std::int64_t position = block * layout.block_tokens() + row * layout.block_cols();
  return block_order ? position : layout.token_of_position(position);
}

// Everything about query block a that does not depend on the keys.
void load_queries(const MonarchBackwardArgs& args, const Head& head, const Sizes& s,
                  const Scratch& x, std::int64_t a) {
  constexpr float kLog2E = 1.44269504F;
  const std::int64_t q_tokens = args.num_q_blocks * args.layout.block_tokens();
  const float* lse = args.lse + (head.batch * args.num_heads + head.head) * q_tokens;
  for (std::int64_t j = 0; j < s.cols; ++j) {
    for (std::int64_t i = 0; i < s.padded_rows; ++i) {
      x.lse[j * s.padded_rows + i] = __builtin_inff();
      x.delta[j * s.padded_rows + i] = 0.0F;
    }
  }
  for (std::int64_t i = 0; i < s.rows; ++i) {
    const std::int64_t first = row_start(args.layout, false, a, i);
    for (std::int64_t j = 0; j < s.cols; ++j) {
      const std::int64_t token = first + j;
      float* q = x.q + (j * s.rows + i) * s.width;
      float* g = x.g + (j * s.rows + i) * s.width;
      float* out = x.dq + (j * s.rows + i) * s.width;  // O for the moment
      load_row(args.q.data, args.q.dtype, head.offset(args.q) + token * args.q.token_stride,
               args.head_dim, s.width, args.scale, q);
      load_row(args.grad_out.data, args.grad_out.dtype,
               head.offset(args.grad_out) + token * args.grad_out.token_stride, args.head_dim,
               s.width, 1.0F, g);
      load_row(args.out.data, args.out.dtype, head.offset(args.out) + token * args.out.token_stride,
               args.head_dim, s.width, 1.0F, out);
      Vec<4> sum{};
      for (std::int64_t d = 0; d < s.width; d += 4) sum += load<4>(g + d) * load<4>(out + d);
      x.delta[j * s.padded_rows + i] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
      x.lse[j * s.padded_rows + i] = lse[token] * kLog2E;
    }
  }
  for (std::int64_t i = 0; i < s.rows; ++i) {
    transpose(x.q + i * s.width, s.rows * s.width, s.cols, s.padded_cols, s.depth,
              x.q_by_row + i * s.depth * s.padded_cols, s.padded_cols);
  }
  for (std::int64_t j = 0; j < s.cols; ++j) {
    transpose(x.q + j * s.rows * s.width, s.width, s.rows, s.padded_rows, s.depth,
              x.q_by_col + j * s.depth * s.padded_rows, s.padded_rows);
    transpose(x.g + j * s.rows * s.width, s.width, s.rows, s.padded_rows, s.depth,
              x.g_by_col + j * s.depth * s.padded_rows, s.padded_rows);
  }
  for (std::int64_t at = 0; at < s.rows * s.depth * s.padded_cols; ++at) x.q_by_row[at] *= kLog2E;
  for (std::int64_t at = 0; at < s.cols * s.depth * s.padded_rows; ++at) x.q_by_col[at] *= kLog2E;
  for (std::int64_t at = 0; at < s.cols * s.rows * s.width; ++at) x.dq[at] = 0.0F;
}

void load_keys(const MonarchBackwardArgs& args, const Operand& operand, const Head& head,
               const Sizes& s, std::int64_t first_token, float* rows) {
  for (std::int64_t l = 0; l < s.cols; ++l) {
    load_row(operand.data, operand.dtype,
             head.offset(operand) + (first_token + l) * operand.token_stride, args.head_dim,
             s.width, 1.0F, rows + l * s.width);
  }
}

void recompute_rows(const MonarchBackwardArgs& args, const Head& head, const Sizes& s,
                    const Scratch& x, std::int64_t f) {
  const int depth = static_cast<int>(args.head_dim);
  const int cols = static_cast<int>(s.cols);
  for (std::int64_t k = 0; k < s.rows; ++k) {
    const std::int64_t token = row_start(args.layout, args.kv_block_order, f, k);
    load_keys(args, args.k, head, s, token, x.k_row);
    load_keys(args, args.v, head, s, token, x.v_row);
    multiply(Form::kRows, cols, cols, depth, x.k_row, s.width,
             x.q_by_row + k * s.depth * s.padded_cols, s.padded_cols, x.scores, s.padded_cols);
    for_each_vector(s.padded_cols, [&](std::int64_t j, auto lanes) MONARCH_LAMBDA_INLINE {
      log_softmax_columns<decltype(lanes)::value>(
          x.scores + j, x.log_r + k * s.cols * s.padded_cols + j, s.padded_cols, s.cols,
          x.c_l + k * s.padded_cols + j);
    });
    multiply(Form::kColumns, cols, depth, cols, x.scores, s.padded_cols, x.k_row, s.width,
             x.a_l + k * s.width, s.rows * s.width);
    multiply(Form::kColumns, cols, depth, cols, x.scores, s.padded_cols, x.v_row, s.width,
             x.y + k * s.width, s.rows * s.width);
  }
}

void column_gradients(const MonarchBackwardArgs& args, const Sizes& s, const Scratch& x) {
  const int depth = static_cast<int>(args.head_dim);
  const int rows = static_cast<int>(s.rows);
  const std::int64_t block = s.rows * s.width;
  for (std::int64_t j = 0; j < s.cols; ++j) {
    multiply(Form::kRows, rows, rows, depth, x.a_l + j * block, s.width,
             x.q_by_col + j * s.depth * s.padded_rows, s.padded_rows, x.scores, s.padded_rows);
    multiply(Form::kRows, rows, rows, depth, x.y + j * block, s.width,
             x.g_by_col + j * s.depth * s.padded_rows, s.padded_rows, x.other, s.padded_rows);
    // scores <- L, other <- dy, dcL <- -ln 2 Σ_i dy.
    for (std::int64_t k = 0; k < s.rows; ++k) {
      const float c_l = x.c_l[k * s.padded_cols + j];
      float total = 0.0F;
      for_each_vector(s.padded_rows, [&](std::int64_t i, auto lanes) MONARCH_LAMBDA_INLINE {
        constexpr int N = decltype(lanes)::value;
        float* w = x.scores + k * s.padded_rows + i;
        float* dl = x.other + k * s.padded_rows + i;
        const Vec<N> l = exp2<N>((load<N>(w) - c_l) - load<N>(x.lse + j * s.padded_rows + i));
        const Vec<N> dy = l * (load<N>(dl) - load<N>(x.delta + j * s.padded_rows + i));
        store<N>(w, l);
        store<N>(dl, dy);
        for (int lane = 0; lane < N; ++lane) total += dy[lane];
      });
      x.dc_l[k * s.padded_cols + j] = -kLn2 * total;
    }
    multiply(Form::kRows, rows, depth, rows, x.scores, s.padded_rows, x.g + j * block, s.width,
             x.dy_v + j * block, s.width);
    multiply(Form::kRows, rows, depth, rows, x.other, s.padded_rows, x.q + j * block, s.width,
             x.da_l + j * block, s.width);
    multiply(Form::kColumns, rows, depth, rows, x.other, s.padded_rows, x.a_l + j * block, s.width,
             x.dq + j * block, s.width, x.ones);
  }
}

// x and log2 R of each column -> dz in x, R in log_r.
template <int N>
MONARCH_INLINE void softmax_gradient(float* x, float* log_r, std::ptrdiff_t stride,
                                     std::int64_t count, Vec<N> dc_l) {
  Vec<N> mean{};
  for (std::int64_t l = 0; l < count; ++l) {
    const Vec<N> log_weight = load<N>(log_r + l * stride);
    const Vec<N> value = load<N>(x + l * stride) + dc_l * log_weight;
    const Vec<N> r = exp2<N>(log_weight);
    mean += r * value;
    store<N>(x + l * stride, value);
    store<N>(log_r + l * stride, r);
  }
  for (std::int64_t l = 0; l < count; ++l) {
    store<N>(x + l * stride, load<N>(log_r + l * stride) * (load<N>(x + l * stride) - mean));
  }
}

void row_gradients(const MonarchBackwardArgs& args, const Head& head, const Sizes& s,
                   const Scratch& x, std::int64_t f) {
  const int depth = static_cast<int>(args.head_dim);
  const int cols = static_cast<int>(s.cols);
  const std::int64_t pitch = s.rows * s.width;  // from column to column of [J, I, D]
  for (std::int64_t k = 0; k < s.rows; ++k) {
    const std::int64_t token = row_start(args.layout, args.kv_block_order, f, k);
    load_keys(args, args.k, head, s, token, x.k_row);
    load_keys(args, args.v, head, s, token, x.v_row);
    const float* da_l = x.da_l + k * s.width;
    const float* dy_v = x.dy_v + k * s.width;
    float* log_r = x.log_r + k * s.cols * s.padded_cols;
    transpose(da_l, pitch, s.cols, s.padded_cols, s.depth, x.da_l_t, s.padded_cols);
    transpose(dy_v, pitch, s.cols, s.padded_cols, s.depth, x.dy_v_t, s.padded_cols);
    multiply(Form::kRows, cols, cols, depth, x.k_row, s.width, x.da_l_t, s.padded_cols, x.scores,
             s.padded_cols);
    multiply(Form::kRows, cols, cols, depth, x.v_row, s.width, x.dy_v_t, s.padded_cols, x.scores,
             s.padded_cols, x.ones);
    for_each_vector(s.padded_cols, [&](std::int64_t j, auto lanes) MONARCH_LAMBDA_INLINE {
      constexpr int N = decltype(lanes)::value;
      softmax_gradient<N>(x.scores + j, log_r + j, s.padded_cols, s.cols,
                          load<N>(x.dc_l + k * s.padded_cols + j));
    });
    float* dk = x.dk + ((f * s.rows + k) * s.cols) * s.width;
    float* dv = x.dv + ((f * s.rows + k) * s.cols) * s.width;
    multiply(Form::kRows, cols, depth, cols, log_r, s.padded_cols, da_l, pitch, dk, s.width,
             x.ones);
    multiply(Form::kRows, cols, depth, cols, x.scores, s.padded_cols, x.q + k * s.width, pitch, dk,
             s.width, x.ones);
    multiply(Form::kRows, cols, depth, cols, log_r, s.padded_cols, dy_v, pitch, dv, s.width,
             x.ones);
    multiply(Form::kColumns, cols, depth, cols, x.scores, s.padded_cols, x.k_row, s.width,
             x.dq + k * s.width, pitch, x.ones);
  }
}

}  // namespace

std::size_t monarch_backward_workspace(const MonarchBackwardArgs& args) {
  return Scratch(Sizes(args), nullptr).size;
}

void monarch_backward(const MonarchBackwardArgs& args, std::int64_t index, float* workspace) {
  const Head head{index / args.num_heads, index % args.num_heads};
  const Sizes s(args);
  const Scratch x(s, workspace);
  for (std::int64_t at = 0; at < s.keys * s.width; ++at) x.dk[at] = x.dv[at] = 0.0F;
  for (std::int64_t at = 0; at < (s.rows > s.cols ? s.rows : s.cols); ++at) x.ones[at] = 1.0F;
  // Lanes beyond head_dim are multiplied, never used; they must be numbers.
  for (std::int64_t at = 0; at < s.rows * s.padded_cols; ++at) x.dc_l[at] = 0.0F;

  for (std::int64_t a = 0; a < args.num_q_blocks; ++a) {
    load_queries(args, head, s, x, a);
    const std::int64_t visible = args.causal_group == 0
                                     ? args.num_kv_blocks
                                     : (a / args.causal_group + 1) * args.causal_group;
    for (std::int64_t f = 0; f < visible; ++f) {
      recompute_rows(args, head, s, x, f);
      column_gradients(args, s, x);
      row_gradients(args, head, s, x, f);
    }
    for (std::int64_t i = 0; i < s.rows; ++i) {
      const std::int64_t first = row_start(args.layout, false, a, i);
      for (std::int64_t j = 0; j < s.cols; ++j) {
        store_row(x.dq + (j * s.rows + i) * s.width, args.scale, args.grad_q.data,
                  args.grad_q.dtype,
                  head.offset(args.grad_q) + (first + j) * args.grad_q.token_stride, args.head_dim);
      }
    }
  }
  for (std::int64_t f = 0; f < args.num_kv_blocks; ++f) {
    for (std::int64_t k = 0; k < s.rows; ++k) {
      const std::int64_t first = row_start(args.layout, args.kv_block_order, f, k);
      for (std::int64_t l = 0; l < s.cols; ++l) {
        const std::int64_t row = ((f * s.rows + k) * s.cols + l) * s.width;
        store_row(x.dk + row, 1.0F, args.grad_k.data, args.grad_k.dtype,
                  head.offset(args.grad_k) + (first + l) * args.grad_k.token_stride, args.head_dim);
        store_row(x.dv + row, 1.0F, args.grad_v.data, args.grad_v.dtype,
                  head.offset(args.grad_v) + (first + l) * args.grad_v.token_stride, args.head_dim);
      }
    }
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
