// The backward of flash_rows.cuh for its keys l: 128 of them with all queries j of their row, of
// all query blocks. R, u and dz as in row_query_gradients.cuh:
//   dK[l] += sum_j R[j,l] d a_L[j] + s/c dz[j,l] a_R[j]      dV[l] += sum_j R[j,l] dY[j]
// Eight warps of 16 keys; 32 queries at a time pass through two slots of shared memory.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/sm80/gradient_kind.h"
#include "monarch/attention/cuda/sm80/step_unit.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, GradientKind kKind>
class RowKeyGradients {
  static constexpr bool kDense = kKind == GradientKind::kDense;
  static constexpr bool kMeanKeys = !kDense;
  static constexpr bool kMeanValues = kKind != GradientKind::kEarlier;
  static constexpr int kDepth = kHeadDim / 16;
  static constexpr int kPieces = kHeadDim / 8;
  static constexpr std::uint32_t kPitch = row_pitch(kHeadDim);
  static constexpr std::uint32_t kOperandBytes = kGradientRows * kPitch;
  // In a slot, behind a_R.
  static constexpr std::uint32_t kDaL = kOperandBytes;
  static constexpr std::uint32_t kDY = kDense ? kOperandBytes : 2 * kOperandBytes;
  static constexpr std::uint32_t kSlotBytes = (kMeanKeys && kMeanValues ? 3 : 2) * kOperandBytes;

 public:
  MONARCH_DEVICE explicit RowKeyGradients(const StepGradientArgs& args)
      : all_(args),
        args_(args.step),
        thread_(device::thread_index()),
        lane_(thread_ % kWarpSize),
        g_(lane_ / 4),
        t_(lane_ % 4) {}

  MONARCH_DEVICE void run() {
    locate();
    load_keys();
    const int tiles = (num_queries_ + kGradientRows - 1) / kGradientRows;
    const int all_tiles = tiles * (kDense ? 1 : args_.q_blocks);
    issue(0, tiles);
    for (int tile = 0; tile < all_tiles; ++tile) {
      device::copy_async_wait<0>();
      device::barrier();
      if (tile + 1 < all_tiles) issue(tile + 1, tiles);
      if (first_key_ >= num_keys_) continue;  // this warp has none; it copies for the others
      const int first = tile % tiles * kGradientRows;
      const int count = num_queries_ - first;
      for (int n = 0; n < kGradientRows && n < count; n += 16) {
        fold(tile % 2 * kSlotBytes + n * kPitch, tile / tiles, first + n);
      }
    }
    store();
  }

 private:
  MONARCH_DEVICE void locate() {
    num_keys_ = kDense ? args_.kv_tokens : args_.cols;
    num_queries_ = kDense ? args_.recomputed_tokens : args_.cols;
    const int tiles = (num_keys_ + kKeyTile - 1) / kKeyTile;
    int rest = device::block_index();
    first_key_ = rest % tiles * kKeyTile + thread_ / kWarpSize * 16;
    rest /= tiles;
    if constexpr (!kDense) {
      row_ = rest % args_.rows;
      rest /= args_.rows;
      key_token_ = key_row_token(args_, row_);
    }
    head_ = rest;
  }
  MONARCH_DEVICE std::int64_t key_token(int index) const {
    return kDense ? index : key_token_ + token_on(args_.k_map.col, index);
  }
  // Of a query in the arrays of rows, in a query block.
  MONARCH_DEVICE std::int64_t index_of(int block, int query) const {
    if constexpr (kDense) return std::int64_t{head_} * num_queries_ + query;
    const std::int64_t unit = std::int64_t{head_} * args_.q_blocks + block;
    return (unit * args_.rows + row_) * args_.cols + query;
  }

  MONARCH_DEVICE void load_keys() {
    const int unit = head_ * args_.q_blocks;
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int wanted = first_key_ + 8 * half + g_;
      const std::int64_t token = key_token(wanted < num_keys_ ? wanted : num_keys_ - 1);
      load_left(k_, half, args_, head_of(args_.k, args_, unit) + token * args_.k.token_stride);
      if constexpr (kMeanValues) {
        load_left(v_, half, args_, head_of(args_.v, args_, unit) + token * args_.v.token_stride);
      }
    }
  }

  // Copies 32 queries and their gradients; beyond the last it repeats: finite, and masked.
  MONARCH_DEVICE void issue(int tile, int tiles) const {
    const std::uint32_t slot = tile % 2 * kSlotBytes;
    const int block = tile / tiles;
    const int unit = head_ * args_.q_blocks + block;
    const std::int64_t first_token =
        kDense ? 0 : row_token(args_.q_map, block, row_ % args_.queries);
    for (int piece = thread_; piece < kGradientRows * kPieces; piece += kThreads) {
      const int j = piece / kPieces;
      const int d = piece % kPieces * 8;
      const int wanted = tile % tiles * kGradientRows + j;
      const int query = wanted < num_queries_ ? wanted : num_queries_ - 1;
      const std::int64_t token = first_token + (kDense ? query : token_on(args_.q_map.col, query));
      const std::int64_t row = index_of(block, query) * args_.head_dim;
      const bool valid = d < args_.head_dim;
      const int at = valid ? d : 0;
      const std::uint32_t to = slot + j * kPitch + 2 * d;
      const std::uint16_t* const q =
          kDense || args_.first_iteration
              ? head_of(args_.q, args_, unit) + token * args_.q.token_stride
              : args_.a_r + row;
      device::copy_async(to, q + at, valid);
      if constexpr (kMeanKeys) device::copy_async(to + kDaL, all_.d_a_l + row + at, valid);
      if constexpr (kMeanValues) {
        const std::uint16_t* const d_y =
            kDense ? head_of(all_.grad_out, args_, unit) + token * all_.grad_out.token_stride
                   : all_.d_y + row;
        device::copy_async(to + kDY, d_y + at, valid);
      }
    }
    device::copy_async_commit();
  }

  // Sixteen queries of a block, from `first` on.
  MONARCH_DEVICE void fold(std::uint32_t rows, int block, int first) {
    float x[2][4] = {};
    float u[2][4] = {};
    MONARCH_UNROLL
    for (int n = 0; n < 2; ++n) {
      const std::uint32_t row = rows + (8 * n + lane_ % 8) * kPitch + lane_ / 8 * 16;
      multiply_rows(row, k_, x[n]);
      if constexpr (kMeanKeys) multiply_rows(row + kDaL, k_, u[n]);
      if constexpr (kMeanValues) multiply_rows(row + kDY, v_, u[n]);
    }
    const float scale_log2 = kDense ? args_.scale_log2 : row_scale(args_, args_.scale_log2);
    const float scale = kDense ? args_.scale : row_scale(args_, args_.scale);
    MONARCH_UNROLL
    for (int n = 0; n < 2; ++n) {
      MONARCH_UNROLL
      for (int side = 0; side < 2; ++side) {
        const int wanted = first + 8 * n + 2 * t_ + side;
        const bool exists = wanted < num_queries_;
        const int query = exists ? wanted : num_queries_ - 1;
        const std::int64_t at = index_of(block, query);
        float lse = 0;
        float delta = 0;
        float d_entropy = 0;
        if constexpr (kDense) {
          const std::int64_t head = args_.first_head + head_;
          lse = kLog2E * all_.out_lse[head * args_.q_tokens + query];
          delta = all_.first_frame_delta[at];
        } else {
          lse = args_.row_lse[at];
          delta = all_.delta[at];
          if (all_.entropy_gradient) d_entropy = kLn2 * all_.d_entropy[at];
        }
        MONARCH_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int entry = 2 * half + side;
          const float log_r = x[n][entry] * scale_log2 - lse;
          const float r = exists ? device::exp2(log_r) : 0.0F;
          u[n][entry] =
              exists ? scale * r * (u[n][entry] - d_entropy * log_r - delta) : 0.0F;  // dz
          x[n][entry] = r;
        }
      }
    }
    const int matrix = lane_ / 8;
    const std::uint32_t right = rows + (lane_ % 8 + matrix % 2 * 8) * kPitch + matrix / 2 * 16;
    add_weighted(u, right, sum_k_);
    if constexpr (kMeanKeys) add_weighted(x, right + kDaL, sum_k_);
    if constexpr (kMeanValues) add_weighted(x, right + kDY, sum_v_);
  }

  MONARCH_DEVICE static void multiply_rows(std::uint32_t row,
                                           const std::uint32_t (&left)[kDepth][4], float (&c)[4]) {
    MONARCH_UNROLL
    for (int pair = 0; pair < kDepth / 2; ++pair) {
      std::uint32_t right[4];
      device::load_matrices(right, row + 64 * pair);
      device::multiply<T>(c, left[2 * pair], {right[0], right[1]});
      device::multiply<T>(c, left[2 * pair + 1], {right[2], right[3]});
    }
  }
  MONARCH_DEVICE static void add_weighted(const float (&weight)[2][4], std::uint32_t right,
                                          float (&sum)[kPieces][4]) {
    const std::uint32_t w[4] = {
        device::pack<T>(weight[0][0], weight[0][1]), device::pack<T>(weight[0][2], weight[0][3]),
        device::pack<T>(weight[1][0], weight[1][1]), device::pack<T>(weight[1][2], weight[1][3])};
    MONARCH_UNROLL
    for (int depth = 0; depth < kDepth; ++depth) {
      std::uint32_t x[4];
      device::load_matrices_transposed(x, right + 32 * depth);
      device::multiply<T>(sum[2 * depth], w, {x[0], x[1]});
      device::multiply<T>(sum[2 * depth + 1], w, {x[2], x[3]});
    }
  }

  // The last iteration comes first.
  MONARCH_DEVICE void store() const {
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int key = first_key_ + 8 * half + g_;
      if (key >= num_keys_) continue;
      const std::int64_t row =
          (std::int64_t{head_} * args_.kv_tokens + key_token(key)) * args_.head_dim;
      MONARCH_UNROLL
      for (int n = 0; n < kPieces; ++n) {
        const int d = 8 * n + 2 * t_;
        if (d >= args_.head_dim) continue;
        MONARCH_UNROLL
        for (int side = 0; side < 2; ++side) {
          add(all_.sum_k + row + d + side, sum_k_[n][2 * half + side]);
          if constexpr (kMeanValues) add(all_.sum_v + row + d + side, sum_v_[n][2 * half + side]);
        }
      }
    }
  }
  MONARCH_DEVICE static void add(float* sum, float value) {
    *sum = kKind == GradientKind::kLast ? value : *sum + value;
  }

  const StepGradientArgs& all_;
  const StepArgs& args_;
  const int thread_;
  const int lane_;
  const int g_;  // lane = 4 g + t
  const int t_;
  int head_ = 0;
  int row_ = 0;
  int first_key_ = 0;
  int num_keys_ = 0;
  int num_queries_ = 0;
  std::int64_t key_token_ = 0;
  std::uint32_t k_[kDepth][4];
  std::uint32_t v_[kDepth][4];
  float sum_k_[kPieces][4] = {};
  float sum_v_[kPieces][4] = {};
};

}  // namespace monarch::attention::cuda::sm80
