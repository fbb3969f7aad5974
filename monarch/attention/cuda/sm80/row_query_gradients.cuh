// The backward of flash_rows.cuh for its queries j: 128 of them with all keys l of their row.
//   R[l] = exp( z[l] - lse )    u[l] = d a_L . K[l] + dY . V[l] - dH log R[l]    (dY: last
//   iteration) dz[l] = R[l] (u[l] - delta)                                     delta = sum_l R u
//   first iteration  dq += s/c sum_l dz[l] K[l], over all key blocks
//   otherwise        d a_R = s/c sum_l dz[l] K[l],  d c_R = -1/c sum_l dz[l] z[l] where c_R is not
//                    bounded; both are kept without 1/c (step_column_gradients.cuh)
//   first frame      the same with R over all keys, u = G . V and delta = G . out
// Eight warps of 16 queries; 64 keys at a time pass through two slots of shared memory.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/sm80/gradient_kind.h"
#include "monarch/attention/cuda/sm80/step_unit.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, GradientKind kKind>
class RowQueryGradients {
  static constexpr bool kDense = kKind == GradientKind::kDense;
  static constexpr bool kMeanKeys = !kDense;
  static constexpr bool kMeanValues = kKind != GradientKind::kEarlier;
  static constexpr int kDepth = kHeadDim / 16;
  static constexpr int kPieces = kHeadDim / 8;
  static constexpr std::uint32_t kPitch = row_pitch(kHeadDim);
  static constexpr std::uint32_t kOperandBytes = kFlashKeys * kPitch;
  static constexpr std::uint32_t kSlotBytes = (kMeanValues ? 2 : 1) * kOperandBytes;

 public:
  MONARCH_DEVICE explicit RowQueryGradients(const StepGradientArgs& args)
      : all_(args),
        args_(args.step),
        thread_(device::thread_index()),
        lane_(thread_ % kWarpSize),
        g_(lane_ / 4),
        t_(lane_ % 4) {}

  MONARCH_DEVICE void run() {
    locate();
    const int blocks = kDense ? 1 : args_.rows / args_.queries;
    for (int block = 0; block < blocks; ++block) {
      row_ = block * args_.queries + query_row_;
      if constexpr (!kDense) key_token_ = key_row_token(args_, row_);
      load_queries();
      if (block > 0) device::barrier();  // the slots are read no more
      walk();
      if (!kDense && !args_.first_iteration) store_row();
    }
    if (kDense || args_.first_iteration) add_to_queries();
  }

 private:
  MONARCH_DEVICE void locate() {
    const int num_queries = kDense ? args_.recomputed_tokens : args_.cols;
    const int tiles = (num_queries + kFlashQueries - 1) / kFlashQueries;
    int rest = device::block_index();
    first_query_ = rest % tiles * kFlashQueries + thread_ / kWarpSize * 16;
    last_query_ = num_queries - 1;
    rest /= tiles;
    if constexpr (!kDense) {
      query_row_ = rest % args_.queries;
      rest /= args_.queries;
    }
    unit_ = rest;
    num_keys_ = kDense ? args_.kv_tokens : args_.cols;
    if constexpr (!kDense) {
      query_token_ = row_token(args_.q_map, unit_ % args_.q_blocks, query_row_);
    }
  }
  MONARCH_DEVICE std::int64_t query_token(int index) const {
    return kDense ? index : query_token_ + token_on(args_.q_map.col, index);
  }
  MONARCH_DEVICE std::int64_t key_token(int index) const {
    return kDense ? index : key_token_ + token_on(args_.k_map.col, index);
  }
  MONARCH_DEVICE std::int64_t index_of(int query) const {
    return (std::int64_t{unit_} * args_.rows + row_) * args_.cols + query;
  }
  // Where query `index` lies in a tensor.
  template <typename Element>
  MONARCH_DEVICE Element* token_of(const Operand<Element>& operand, int index) const {
    return head_of(operand, args_, unit_) + query_token(index) * operand.token_stride;
  }

  MONARCH_DEVICE void load_queries() {
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int wanted = first_query_ + 8 * half + g_;
      const int query = wanted < last_query_ ? wanted : last_query_;
      const std::int64_t row = index_of(query);
      load_left(a_r_, half, args_,
                kDense || args_.first_iteration ? token_of(args_.q, query)
                                                : args_.a_r + row * args_.head_dim);
      if constexpr (kDense) {
        load_left(d_y_, half, args_, token_of(all_.grad_out, query));
        const std::int64_t head = args_.first_head + unit_;
        lse_[half] = kLog2E * all_.out_lse[head * args_.q_tokens + query];
        delta_[half] = grad_dot_out(half, token_of(all_.out, query));
        if (t_ == 0 && wanted <= last_query_) {
          all_.first_frame_delta[std::int64_t{unit_} * args_.recomputed_tokens + query] =
              delta_[half];
        }
      } else {
        load_left(d_a_l_, half, args_, all_.d_a_l + row * args_.head_dim);
        if constexpr (kMeanValues) {
          load_left(d_y_, half, args_, all_.d_y + row * args_.head_dim);
        }
        lse_[half] = args_.row_lse[row];
        delta_[half] = all_.delta[row];
        d_entropy_[half] = all_.entropy_gradient ? kLn2 * all_.d_entropy[row] : 0.0F;
      }
    }
  }
  MONARCH_DEVICE float grad_dot_out(int half, const std::uint16_t* out) const {
    float product = 0;
    MONARCH_UNROLL
    for (int n = 0; n < kPieces; ++n) {
      float a[2];
      float b[2];
      device::unpack<T>(d_y_[n / 2][n % 2 * 2 + half], a);
      device::unpack<T>(channels(args_, out, 8 * n + 2 * t_), b);
      product += a[0] * b[0] + a[1] * b[1];
    }
    product += device::shuffle_xor(product, 1);
    return product + device::shuffle_xor(product, 2);
  }

  MONARCH_DEVICE void walk() {
    issue(0);
    const int tiles = (num_keys_ + kFlashKeys - 1) / kFlashKeys;
    for (int tile = 0; tile < tiles; ++tile) {
      device::copy_async_wait<0>();
      device::barrier();
      if (tile + 1 < tiles) issue(tile + 1);
      if (first_query_ > last_query_) continue;  // this warp has none; it copies for the others
      const int count = num_keys_ - tile * kFlashKeys;
      for (int first = 0; first < kFlashKeys && first < count; first += 16) {
        fold(tile % 2 * kSlotBytes + first * kPitch, count - first);
      }
    }
  }

  // Copies 64 keys, and their values; beyond the last key it repeats: finite, and masked.
  MONARCH_DEVICE void issue(int tile) const {
    const std::uint32_t slot = tile % 2 * kSlotBytes;
    const std::uint16_t* const k = head_of(args_.k, args_, unit_);
    const std::uint16_t* const v = head_of(args_.v, args_, unit_);
    for (int piece = thread_; piece < kFlashKeys * kPieces; piece += kThreads) {
      const int row = piece / kPieces;
      const int d = piece % kPieces * 8;
      const int wanted = tile * kFlashKeys + row;
      const std::int64_t key = key_token(wanted < num_keys_ ? wanted : num_keys_ - 1);
      const bool valid = d < args_.head_dim;
      const std::uint32_t to = slot + row * kPitch + 2 * d;
      device::copy_async(to, k + (valid ? key * args_.k.token_stride + d : 0), valid);
      if constexpr (kMeanValues) {
        device::copy_async(to + kOperandBytes, v + (valid ? key * args_.v.token_stride + d : 0),
                           valid);
      }
    }
    device::copy_async_commit();
  }

  // Sixteen keys; `count` of them exist.
  MONARCH_DEVICE void fold(std::uint32_t keys, int count) {
    float x[2][4] = {};
    float u[2][4] = {};
    MONARCH_UNROLL
    for (int n = 0; n < 2; ++n) {
      const std::uint32_t rows = keys + (8 * n + lane_ % 8) * kPitch + lane_ / 8 * 16;
      MONARCH_UNROLL
      for (int pair = 0; pair < kDepth / 2; ++pair) {
        std::uint32_t k[4];
        device::load_matrices(k, rows + 64 * pair);
        device::multiply<T>(x[n], a_r_[2 * pair], {k[0], k[1]});
        device::multiply<T>(x[n], a_r_[2 * pair + 1], {k[2], k[3]});
        if constexpr (kMeanKeys) {
          device::multiply<T>(u[n], d_a_l_[2 * pair], {k[0], k[1]});
          device::multiply<T>(u[n], d_a_l_[2 * pair + 1], {k[2], k[3]});
        }
        if constexpr (kMeanValues) {
          std::uint32_t v[4];
          device::load_matrices(v, rows + kOperandBytes + 64 * pair);
          device::multiply<T>(u[n], d_y_[2 * pair], {v[0], v[1]});
          device::multiply<T>(u[n], d_y_[2 * pair + 1], {v[2], v[3]});
        }
      }
    }
    const float scale = kDense ? args_.scale_log2 : row_scale(args_, args_.scale_log2);
    MONARCH_UNROLL
    for (int n = 0; n < 2; ++n) {
      MONARCH_UNROLL
      for (int entry = 0; entry < 4; ++entry) {
        const int half = entry / 2;
        const bool exists = 8 * n + 2 * t_ + entry % 2 < count;
        const float z = x[n][entry] * scale;
        const float log_r = z - lse_[half];
        const float dz =
            exists ? device::exp2(log_r) * (u[n][entry] - d_entropy_[half] * log_r - delta_[half])
                   : 0.0F;
        d_c_r_[half] -= dz * kLn2 * z;
        x[n][entry] = dz;
      }
    }
    const std::uint32_t weights[4] = {
        device::pack<T>(x[0][0], x[0][1]), device::pack<T>(x[0][2], x[0][3]),
        device::pack<T>(x[1][0], x[1][1]), device::pack<T>(x[1][2], x[1][3])};
    const int matrix = lane_ / 8;
    const std::uint32_t right = keys + (lane_ % 8 + matrix % 2 * 8) * kPitch + matrix / 2 * 16;
    MONARCH_UNROLL
    for (int depth = 0; depth < kDepth; ++depth) {
      std::uint32_t k[4];
      device::load_matrices_transposed(k, right + 32 * depth);
      device::multiply<T>(sum_[2 * depth], weights, {k[0], k[1]});
      device::multiply<T>(sum_[2 * depth + 1], weights, {k[2], k[3]});
    }
  }

  // d a_R and d c_R of this row's queries, and on to the next row.
  MONARCH_DEVICE void store_row() {
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      float d_c_r = d_c_r_[half];
      d_c_r += device::shuffle_xor(d_c_r, 1);
      d_c_r += device::shuffle_xor(d_c_r, 2);
      d_c_r_[half] = 0;
      const int query = first_query_ + 8 * half + g_;
      if (query > last_query_) continue;
      const std::int64_t row = index_of(query);
      const bool bounded = all_.c_r[row] + args_.c_r_add < args_.c_r_min;
      if (t_ == 0) all_.d_c_r[row] = bounded ? 0.0F : d_c_r;
      MONARCH_UNROLL
      for (int n = 0; n < kPieces; ++n) {
        const int d = 8 * n + 2 * t_;
        if (d >= args_.head_dim) continue;
        *reinterpret_cast<std::uint32_t*>(all_.values + row * args_.head_dim + d) =
            device::pack<T>(args_.scale * sum_[n][2 * half], args_.scale * sum_[n][2 * half + 1]);
      }
    }
    MONARCH_UNROLL
    for (auto& piece : sum_) {
      MONARCH_UNROLL
      for (float& sum : piece) sum = 0;
    }
  }

  MONARCH_DEVICE void add_to_queries() const {
    const float scale = kDense ? args_.scale : row_scale(args_, args_.scale);
    const std::int64_t head = unit_ / args_.q_blocks;
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int query = first_query_ + 8 * half + g_;
      if (query > last_query_) continue;
      float* const to = all_.sum_q + (head * args_.q_tokens + query_token(query)) * args_.head_dim;
      MONARCH_UNROLL
      for (int n = 0; n < kPieces; ++n) {
        const int d = 8 * n + 2 * t_;
        if (d >= args_.head_dim) continue;
        to[d] += scale * sum_[n][2 * half];
        to[d + 1] += scale * sum_[n][2 * half + 1];
      }
    }
  }

  const StepGradientArgs& all_;
  const StepArgs& args_;
  const int thread_;
  const int lane_;
  const int g_;  // lane = 4 g + t
  const int t_;
  int unit_ = 0;
  int query_row_ = 0;  // of the block
  int row_ = 0;
  int first_query_ = 0;
  int last_query_ = 0;
  int num_keys_ = 0;
  std::int64_t query_token_ = 0;
  std::int64_t key_token_ = 0;
  std::uint32_t a_r_[kDepth][4];
  std::uint32_t d_a_l_[kDepth][4];
  std::uint32_t d_y_[kDepth][4];  // G in dense attention
  float sum_[kHeadDim / 8][4] = {};
  float lse_[2];
  float delta_[2];
  float d_entropy_[2] = {};
  float d_c_r_[2] = {};
};

}  // namespace monarch::attention::cuda::sm80
