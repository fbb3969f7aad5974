// The backward of step_columns.cuh, per column j; s = softmax scale. In the last iteration the
// output's gradient G comes in, in the others that of the next iteration's a_R and c_R:
//   last       dL[i,r] = G[i] . Y[r]
//   otherwise  dL[i,r] = (q[i] . S[r] + n[r]) / c[r]    c the bounded c_R, S = c d a_R, n = c d c_R
//   dx[i,r] = L[i,r] (dL[i,r] - sum_r L dL)
//   dq[i] += s sum_r dx a_L[r]  (+ sum_r L S[r] / c[r])
//   d a_L[r] = s sum_i dx q[i]      dH[r] = sum_i dx      dY[r] = sum_i L G[i]
// In two passes, one for dq, which owns the sums of queries, one for the sums of key rows: a warp
// for 16 of them in one column, eight of the other side at a time, operands straight from memory.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/sm80/step_unit.h"
#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/step_gradient_args.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, bool kLast>
class ColumnGradients {
 protected:
  static constexpr int kDepth = kHeadDim / 16;
  static constexpr int kParts = kHeadDim / 8;

  MONARCH_DEVICE explicit ColumnGradients(const StepGradientArgs& args)
      : all_(args),
        args_(args.step),
        g_(device::thread_index() % kWarpSize / 4),
        t_(device::thread_index() % 4) {}

  // False for a warp without a column; there are no barriers.
  MONARCH_DEVICE bool locate(int rows) {
    const int row_tiles = (rows + 15) / 16;
    const int col_tiles = (args_.cols + kWarps - 1) / kWarps;
    int rest = device::block_index();
    first_row_ = rest % row_tiles * 16;
    rest /= row_tiles;
    col_ = rest % col_tiles * kWarps + device::thread_index() / kWarpSize;
    unit_ = rest / col_tiles;
    return col_ < args_.cols;
  }

  // Beyond the last, the last.
  MONARCH_DEVICE std::int64_t key_index(int row) const {
    const int last = args_.rows - 1;
    return (std::int64_t{unit_} * args_.rows + (row < last ? row : last)) * args_.cols + col_;
  }
  MONARCH_DEVICE std::int64_t query_index(int query) const {
    const int last = args_.queries - 1;
    return (std::int64_t{unit_} * args_.queries + (query < last ? query : last)) * args_.cols +
           col_;
  }
  MONARCH_DEVICE std::int64_t query_token(int query) const {
    const int last = args_.queries - 1;
    return row_token(args_.q_map, unit_ % args_.q_blocks, query < last ? query : last) +
           token_on(args_.q_map.col, col_);
  }
  MONARCH_DEVICE const std::uint16_t* key_row(const std::uint16_t* rows, int row) const {
    return rows + key_index(row) * args_.head_dim;
  }
  MONARCH_DEVICE const std::uint16_t* query_row(int query) const {
    return head_of(args_.q, args_, unit_) + query_token(query) * args_.q.token_stride;
  }
  // Null where the output is not this attention's.
  MONARCH_DEVICE const std::uint16_t* grad_row(int query) const {
    const std::int64_t token = query_token(query);
    if (token < args_.recomputed_tokens) return nullptr;
    return head_of(all_.grad_out, args_, unit_) + token * all_.grad_out.token_stride;
  }
  MONARCH_DEVICE void load_row(const std::uint16_t* row, std::uint32_t (&words)[kParts]) const {
    MONARCH_UNROLL
    for (int n = 0; n < kParts; ++n) {
      words[n] = row == nullptr ? 0 : channels(args_, row, 8 * n + 2 * t_);
    }
  }

  MONARCH_DEVICE static void multiply_rows(float (&c)[4], const std::uint32_t (&left)[kDepth][4],
                                           const std::uint32_t (&right)[kParts]) {
    MONARCH_UNROLL
    for (int depth = 0; depth < kDepth; ++depth) {
      device::multiply<T>(c, left[depth], {right[2 * depth], right[2 * depth + 1]});
    }
  }
  MONARCH_DEVICE static void add_weighted(float (&sum)[kParts][4], const float (&weight)[4],
                                          const std::uint32_t (&right)[kParts]) {
    const std::uint32_t w[2] = {device::pack<T>(weight[0], weight[1]),
                                device::pack<T>(weight[2], weight[3])};
    MONARCH_UNROLL
    for (int n = 0; n < kParts; ++n) {
      device::multiply<T>(sum[n], w, device::transposed(right[n]));
    }
  }
  MONARCH_DEVICE static float sum_of_four(float value) {
    value += device::shuffle_xor(value, 1);
    return value + device::shuffle_xor(value, 2);
  }

  const StepGradientArgs& all_;
  const StepArgs& args_;
  const int g_;  // lane = 4 g + t
  const int t_;
  int unit_ = 0;
  int col_ = 0;
  int first_row_ = 0;
};

template <typename T, int kHeadDim, bool kLast>
class ColumnQueryGradients : ColumnGradients<T, kHeadDim, kLast> {
  using Base = ColumnGradients<T, kHeadDim, kLast>;
  using Base::all_;
  using Base::args_;
  using Base::first_row_;
  using Base::g_;
  using Base::kDepth;
  using Base::kParts;
  using Base::t_;
  using Base::unit_;

 public:
  MONARCH_DEVICE explicit ColumnQueryGradients(const StepGradientArgs& args) : Base(args) {}

  MONARCH_DEVICE void run() {
    if (!this->locate(args_.queries)) return;
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int query = first_row_ + 8 * half + g_;
      load_left(q_, half, args_, this->query_row(query));
      if constexpr (kLast) load_grad(half, this->grad_row(query));
      lse_[half] = args_.lse[this->query_index(query)];
    }
    for (int first = 0; first < args_.rows; first += 8) {
      const Scores scores = compute(first);
      MONARCH_UNROLL
      for (int n = 0; n < 4; ++n) mean_[n / 2] += scores.l[n] * scores.d_l[n];
    }
    MONARCH_UNROLL
    for (float& mean : mean_) mean = Base::sum_of_four(mean);
    for (int first = 0; first < args_.rows; first += 8) fold(first);
    store();
  }

 private:
  struct Scores {
    std::uint32_t a_l[kParts];
    std::uint32_t values[kParts];
    float l[4];
    float d_l[4];
    float inverse_c[2];  // of the rows 2 t and 2 t + 1
  };

  MONARCH_DEVICE void load_grad(int half, const std::uint16_t* row) {
    if (row != nullptr) return load_left(grad_, half, args_, row);
    MONARCH_UNROLL
    for (auto& words : grad_) words[half] = words[2 + half] = 0;
  }

  MONARCH_DEVICE Scores compute(int first) const {
    Scores s;
    this->load_row(this->key_row(args_.a_l, first + g_), s.a_l);
    this->load_row(this->key_row(all_.values, first + g_), s.values);
    float x[4] = {};
    float product[4] = {};
    Base::multiply_rows(x, q_, s.a_l);
    if constexpr (kLast) {
      Base::multiply_rows(product, grad_, s.values);
    } else {
      Base::multiply_rows(product, q_, s.values);
    }
    MONARCH_UNROLL
    for (int side = 0; side < 2; ++side) {
      const int row = first + 2 * t_ + side;
      const std::int64_t at = this->key_index(row);
      const float shift = args_.entropy[at];
      s.inverse_c[side] = kLast ? 1.0F : 1.0F / bounded_c_r(args_, args_.next_c_r[at]);
      const float numerator = kLast ? 0.0F : all_.d_c_r[at];
      MONARCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int n = 2 * half + side;
        s.l[n] = row < args_.rows ? device::exp2(x[n] * args_.scale_log2 + shift - lse_[half]) : 0;
        s.d_l[n] = (product[n] + numerator) * s.inverse_c[side];
      }
    }
    return s;
  }

  MONARCH_DEVICE void fold(int first) {
    const Scores s = compute(first);
    float weight[4];
    MONARCH_UNROLL
    for (int n = 0; n < 4; ++n) weight[n] = args_.scale * s.l[n] * (s.d_l[n] - mean_[n / 2]);
    Base::add_weighted(sum_, weight, s.a_l);
    if constexpr (!kLast) {
      MONARCH_UNROLL
      for (int n = 0; n < 4; ++n) weight[n] = s.l[n] * s.inverse_c[n % 2];
      Base::add_weighted(sum_, weight, s.values);
    }
  }

  MONARCH_DEVICE void store() const {
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int query = first_row_ + 8 * half + g_;
      if (query >= args_.queries) continue;
      if (t_ == 0) all_.mean[this->query_index(query)] = mean_[half];
      const std::int64_t head = unit_ / args_.q_blocks;
      float* const to =
          all_.sum_q + (head * args_.q_tokens + this->query_token(query)) * args_.head_dim;
      MONARCH_UNROLL
      for (int n = 0; n < kParts; ++n) {
        const int d = 8 * n + 2 * t_;
        if (d >= args_.head_dim) continue;
        MONARCH_UNROLL
        for (int side = 0; side < 2; ++side) {
          const float value = sum_[n][2 * half + side];
          to[d + side] = kLast ? value : to[d + side] + value;
        }
      }
    }
  }

  std::uint32_t q_[kDepth][4];
  std::uint32_t grad_[kDepth][4];
  float sum_[kParts][4] = {};
  float lse_[2];
  float mean_[2] = {};
};

template <typename T, int kHeadDim, bool kLast>
class ColumnKeyGradients : ColumnGradients<T, kHeadDim, kLast> {
  using Base = ColumnGradients<T, kHeadDim, kLast>;
  using Base::all_;
  using Base::args_;
  using Base::first_row_;
  using Base::g_;
  using Base::kDepth;
  using Base::kParts;
  using Base::t_;

 public:
  MONARCH_DEVICE explicit ColumnKeyGradients(const StepGradientArgs& args) : Base(args) {}

  MONARCH_DEVICE void run() {
    if (!this->locate(args_.rows)) return;
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = first_row_ + 8 * half + g_;
      const std::int64_t at = this->key_index(row);
      load_left(a_l_, half, args_, this->key_row(args_.a_l, row));
      load_left(values_, half, args_, this->key_row(all_.values, row));
      entropy_[half] = args_.entropy[at];
      inverse_c_[half] = kLast ? 1.0F : 1.0F / bounded_c_r(args_, args_.next_c_r[at]);
      numerator_[half] = kLast ? 0.0F : all_.d_c_r[at];
    }
    for (int first = 0; first < args_.queries; first += 8) fold(first);
    store();
  }

 private:
  MONARCH_DEVICE void fold(int first) {
    std::uint32_t q[kParts];
    std::uint32_t grad[kParts];
    this->load_row(this->query_row(first + g_), q);
    if constexpr (kLast) this->load_row(this->grad_row(first + g_), grad);
    float x[4] = {};
    float product[4] = {};
    Base::multiply_rows(x, a_l_, q);
    if constexpr (kLast) {
      Base::multiply_rows(product, values_, grad);
    } else {
      Base::multiply_rows(product, values_, q);
    }
    float l[4];
    float d_x[4];
    MONARCH_UNROLL
    for (int side = 0; side < 2; ++side) {
      const int query = first + 2 * t_ + side;
      const std::int64_t at = this->query_index(query);
      const float lse = args_.lse[at];
      const float mean = all_.mean[at];
      MONARCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int n = 2 * half + side;
        l[n] = query < args_.queries ? device::exp2(x[n] * args_.scale_log2 + entropy_[half] - lse)
                                     : 0;
        d_x[n] = l[n] * ((product[n] + numerator_[half]) * inverse_c_[half] - mean);
        d_entropy_[half] += d_x[n];
        d_x[n] *= args_.scale;
      }
    }
    Base::add_weighted(d_a_l_, d_x, q);
    if constexpr (kLast) Base::add_weighted(d_y_, l, grad);
  }

  MONARCH_DEVICE void store() const {
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = first_row_ + 8 * half + g_;
      const std::int64_t at = this->key_index(row);
      const bool exists = row < args_.rows;
      const float d_entropy = Base::sum_of_four(d_entropy_[half]);
      // From the rounded gradients, as the first softmax's backward sees them.
      float delta = 0;
      MONARCH_UNROLL
      for (int n = 0; n < kParts; ++n) {
        const int d = 8 * n + 2 * t_;
        if (d >= args_.head_dim) continue;
        delta += store_pair(d_a_l_[n], half, a_l_[n / 2][n % 2 * 2 + half],
                            exists ? all_.d_a_l + at * args_.head_dim + d : nullptr);
        if constexpr (kLast) {
          delta += store_pair(d_y_[n], half, values_[n / 2][n % 2 * 2 + half],
                              exists ? all_.d_y + at * args_.head_dim + d : nullptr);
        }
      }
      delta = Base::sum_of_four(delta);
      if (t_ != 0 || !exists) continue;
      if (all_.entropy_gradient) delta += d_entropy * kLn2 * entropy_[half];
      all_.delta[at] = delta;
      all_.d_entropy[at] = d_entropy;
    }
  }
  // Their product with `other`.
  MONARCH_DEVICE static float store_pair(const float (&sum)[4], int half, std::uint32_t other,
                                         std::uint16_t* to) {
    const std::uint32_t rounded = device::pack<T>(sum[2 * half], sum[2 * half + 1]);
    if (to != nullptr) *reinterpret_cast<std::uint32_t*>(to) = rounded;
    float a[2];
    float b[2];
    device::unpack<T>(rounded, a);
    device::unpack<T>(other, b);
    return a[0] * b[0] + a[1] * b[1];
  }

  std::uint32_t a_l_[kDepth][4];
  std::uint32_t values_[kDepth][4];
  float d_a_l_[kParts][4] = {};
  float d_y_[kParts][4] = {};
  float d_entropy_[2] = {};
  float entropy_[2];
  float inverse_c_[2];
  float numerator_[2];
};

}  // namespace monarch::attention::cuda::sm80
