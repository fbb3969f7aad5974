// VMonarch, forward: one Monarch factorisation over the whole video, tokens split in (i, j) = (k,
// l), i < m, j < P.
//   aR[k,j] = Σ_i L[j,i,k] q[i,j]     cR[k,j] = Σ_i L[j,i,k]      (first iteration: aR = q, cR = 1)
//   R[k,j,l] = softmax_l( s aR[k,j]·k[k,l] / max(cR, c_min) )
//   aL[k,j] = Σ_l R k[k,l]            H[k,j] = -Σ_l R log R       Y[k,j] = Σ_l R v[k,l]
//   L[j,i,k] = softmax_k( s q[i,j]·aL[k,j] + H[k,j] )             O[i,j] = Σ_k L Y[k,j]
//
// Each iteration is two loops over tasks. Rows: a tile of (k, j) against the keys of row k, flash
// style, with the entropy found in the same pass from the running moment (softmax.h). Columns: a
// run of j, for each an m x m problem. aL, Y, aR and H of one head go through memory between them,
// 12 bytes a token and dimension; the row loop's products are P times that. Cost: m P² D (4 t + 2)
// + 4 m² P D t operations for t iterations. arXiv 2601.22275.
#if defined(MONARCH_BF16_KERNELS)
#include "monarch/attention/cpu/bf16_flash.h"
#else
#include "monarch/attention/cpu/flash.h"
#endif

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

struct ColumnScratch {
  float* q;           // [m, D]
  float* q_t;         // [D, m]
  float* scores;      // [m (k), m (i)]
  float* out;         // [m, D]
  float* row_max;     // [m]
  float* row_sum;     // [m]
  float* correction;  // [m]
  std::size_t size;

  ColumnScratch(std::int64_t m, std::int64_t head_dim, float* base) {
    std::size_t used = 0;
    const auto take = [&](std::int64_t count) {
      float* piece = base == nullptr ? nullptr : base + used;
      used += static_cast<std::size_t>(round_up(count, 16));
      return piece;
    };
    const std::int64_t padded = padded_columns(static_cast<int>(m));
    q = take(m * packed_width(head_dim));
    q_t = take(round_up(head_dim, 4) * padded);
    scores = take(m * padded);
    out = take(m * packed_width(head_dim));
    row_max = take(padded);
    row_sum = take(padded);
    correction = take(padded);
    size = used;
  }
};

template <typename T>
MONARCH_INLINE std::int64_t offset(const VMonarchForwardArgs& args,
                                   const BasicOperand<T>& operand) {
  return args.batch * operand.batch_stride + args.head * operand.head_stride;
}

}  // namespace

std::int64_t vmonarch_row_tile() { return kQueryTile; }

std::size_t vmonarch_forward_workspace(const VMonarchForwardArgs& args) {
  const std::size_t rows = FlashScratch(args.head_dim, nullptr).size;
  const std::size_t columns = ColumnScratch(args.layout.num_rows(), args.head_dim, nullptr).size;
  return rows > columns ? rows : columns;
}

std::size_t vmonarch_forward_shared(const VMonarchForwardArgs& args) {
  return static_cast<std::size_t>(args.layout.num_tokens() * (3 * packed_width(args.head_dim) + 1));
}

void vmonarch_rows(const VMonarchForwardArgs& args, std::int64_t index, float* workspace) {
  const FlashScratch scratch(args.head_dim, workspace);
  const SplitLayout layout = args.layout;
  const std::int64_t cols = layout.num_cols();
  const std::int64_t width = packed_width(args.head_dim);
  const std::int64_t k = index / args.row_tiles;
  const std::int64_t tile = index % args.row_tiles;
  const std::int64_t first = k * cols + tile * cols / args.row_tiles;
  const std::int64_t last = k * cols + (tile + 1) * cols / args.row_tiles;
  const std::int64_t queries = last - first;

  for (std::int64_t t = 0; t < queries; ++t) {
    if (args.first_iteration) {
      load_row(args.q.data, args.q.dtype,
               offset(args, args.q) + layout.token_of_position(first + t) * args.q.token_stride,
               args.head_dim, width, 1.0F, scratch.rows + t * width);
    } else {
      load_row(args.a_r, DType::kF32, (first + t) * width, args.head_dim, width, 1.0F,
               scratch.rows + t * width);
    }
  }
  const float c_r = args.c_r_min > 1.0F ? args.c_r_min : 1.0F;
  const FlashWork work{.scale = args.first_iteration ? args.scale_log2 / c_r : 1.0F,
                       .keys = true,
                       .values = args.last_iteration,
                       .entropy = true};
  flash_begin(scratch, work, args.head_dim, queries);
  flash_keys(scratch, work, args.head_dim, queries, args.k, offset(args, args.k), args.v,
             offset(args, args.v), k * cols, (k + 1) * cols,
             [&](std::int64_t position)
                 MONARCH_LAMBDA_INLINE { return layout.token_of_position(position); });

  for_each_vector(
      padded_columns(static_cast<int>(queries)), [&](std::int64_t t) MONARCH_LAMBDA_INLINE {
        const Vec<kLanes> inverse = 1.0F / load<kLanes>(scratch.row_sum + t);
        const Vec<kLanes> minus_entropy = load<kLanes>(scratch.moment + t) * inverse -
                                          log2<kLanes>(load<kLanes>(scratch.row_sum + t));
        store<kLanes>(scratch.correction + t, inverse);
        store<kLanes>(scratch.moment + t, minus_entropy);
      });
  for (std::int64_t t = 0; t < queries; ++t) {
    args.minus_entropy[first + t] = scratch.moment[t];
    store_row(scratch.out_k + t * width, scratch.correction[t], args.a_l, DType::kF32,
              (first + t) * width, width);
    if (args.last_iteration) {
      store_row(scratch.out_v + t * width, scratch.correction[t], args.y, DType::kF32,
                (first + t) * width, width);
    }
  }
}

void vmonarch_columns(const VMonarchForwardArgs& args, std::int64_t index, float* workspace) {
  const SplitLayout layout = args.layout;
  const std::int64_t m = layout.num_rows();
  const std::int64_t cols = layout.num_cols();
  const int rows = static_cast<int>(m);
  const int depth = static_cast<int>(args.head_dim);
  const std::int64_t padded = padded_columns(rows);
  const std::int64_t width = packed_width(args.head_dim);
  const ColumnScratch scratch(m, args.head_dim, workspace);
  const std::int64_t first = index * kVMonarchColumns;
  const std::int64_t last = first + kVMonarchColumns < cols ? first + kVMonarchColumns : cols;
  for (std::int64_t j = first; j < last; ++j) {
    for (std::int64_t i = 0; i < m; ++i) {
      load_row(args.q.data, args.q.dtype,
               offset(args, args.q) + layout.token_of_position(i * cols + j) * args.q.token_stride,
               args.head_dim, width, args.scale_log2, scratch.q + i * width);
    }
    transpose(scratch.q, width, m, padded, round_up(args.head_dim, 4), scratch.q_t, padded);
    multiply(Form::kRows, rows, rows, depth, args.a_l + j * width, cols * width, scratch.q_t,
             padded, scratch.scores, padded);
    for_each_vector(padded, [&](std::int64_t i) MONARCH_LAMBDA_INLINE {
      store<kLanes>(scratch.row_max + i, broadcast<kLanes>(-__builtin_inff()));
      store<kLanes>(scratch.row_sum + i, Vec<kLanes>{});
      running_softmax<kLanes>(scratch.scores + i, padded, m, args.minus_entropy + j, cols,
                              scratch.row_max + i, scratch.row_sum + i, scratch.correction + i);
      store<kLanes>(scratch.row_sum + i, 1.0F / load<kLanes>(scratch.row_sum + i));
    });
    if (args.last_iteration) {
      multiply(Form::kColumns, rows, depth, rows, scratch.scores, padded, args.y + j * width,
               cols * width, scratch.out, width);
      for (std::int64_t i = 0; i < m; ++i) {
        store_row(
            scratch.out + i * width, scratch.row_sum[i], args.out.data, args.out.dtype,
            offset(args, args.out) + layout.token_of_position(i * cols + j) * args.out.token_stride,
            args.head_dim);
      }
      continue;
    }
    // L, divided by the clamped cR of its row, gives the next iteration's queries; they carry the
    // scale already.
    for (std::int64_t k = 0; k < m; ++k) {
      float* l = scratch.scores + k * padded;
      float c_r = 0.0F;
      for (std::int64_t i = 0; i < m; ++i) {
        l[i] *= scratch.row_sum[i];
        c_r += l[i];
      }
      const float inverse = 1.0F / (c_r < args.c_r_min ? args.c_r_min : c_r);
      for (std::int64_t i = 0; i < m; ++i) l[i] *= inverse;
    }
    multiply(Form::kRows, rows, depth, rows, scratch.scores, padded, scratch.q, width,
             args.a_r + j * width, cols * width);
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
