// Backward of modulate.cuh. With G the gradient of the result, n = (x - mean) / deviation,
// h = G (1 + scale):
//   norm        grad_x = (h - mean(h) - n mean(h n)) / deviation
//               grad_scale = sum of G n      grad_shift = sum of G
//   gated add   grad_y = G gate              grad_gate = sum of G y
//   GELU        grad_x = G (s + 2 u' x s (1 - s)),  s = 1 / (1 + e^-2u),  u and u' as below
// Sums are over the tokens of a run. `parts` thread blocks share a run, each takes every parts-th
// token and keeps its sums in registers; a second kernel adds the parts, always in the same order,
// and the batches where one modulation serves all.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/modulate_gradient_args.h"
#include "monarch/attention/cuda/sm80/modulate.cuh"
#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/sm80/token_row.cuh"

namespace monarch::attention::cuda::sm80 {

// The tokens of a thread block: run `run` of batch `batch`, from `first` on.
struct RunPart {
  int batch = 0;
  int run = 0;
  int first = 0;
};

MONARCH_DEVICE RunPart run_part(const ModulateGradientArgs& args) {
  const int index = device::block_index() / args.parts;
  return {index / args.runs, index % args.runs, device::block_index() % args.parts};
}

// What a thread has added up for its channels, stored as modulation `which` of the workspace.
MONARCH_DEVICE void store_part(const ModulateGradientArgs& args, int which,
                               const float (&sums)[kNormPieces][8]) {
  float* const to =
      args.sums + (which * args.num_blocks + device::block_index()) * std::int64_t{args.channels};
  MONARCH_UNROLL
  for (int n = 0; n < kNormPieces; ++n) {
    if (piece_channel(n) >= args.channels) continue;
    MONARCH_UNROLL
    for (int c = 0; c < 8; ++c) to[piece_channel(n) + c] = sums[n][c];
  }
}

template <typename T>
class ModulatedNormGradientBlock {
 public:
  MONARCH_DEVICE explicit ModulatedNormGradientBlock(const ModulateGradientArgs& args)
      : args_(args), part_(run_part(args)) {}

  MONARCH_DEVICE void run() {
    for (int at = part_.first; at < args_.run_tokens; at += args_.parts) {
      const int token = part_.run * args_.run_tokens + at;
      load_row(x_, row_of(args_.x, part_.batch, token), args_.channels);
      load_row(gradient_, row_of(args_.grad_out, part_.batch, token), args_.channels);
      normalise();
      add_up();
      store(row_of(args_.grad_x, part_.batch, token));
    }
    store_part(args_, 0, scale_sums_);
    store_part(args_, 1, shift_sums_);
  }

 private:
  // Calls use(n, c, x) for a thread's channels.
  template <typename Use>
  MONARCH_DEVICE void each_x(const Use& use) const {
    MONARCH_UNROLL
    for (int n = 0; n < kNormPieces; ++n) {
      if (piece_channel(n) >= args_.channels) continue;
      float x[8];
      unpack_piece<T>(x_[n], x);
      MONARCH_UNROLL
      for (int c = 0; c < 8; ++c) use(n, c, x[c]);
    }
  }
  // Calls use(n, c, n of the norm, G, h) for them.
  template <typename Use>
  MONARCH_DEVICE void each_channel(const Use& use) const {
    MONARCH_UNROLL
    for (int n = 0; n < kNormPieces; ++n) {
      if (piece_channel(n) >= args_.channels) continue;
      float x[8];
      float g[8];
      float scale[8];
      unpack_piece<T>(x_[n], x);
      unpack_piece<T>(gradient_[n], g);
      load_piece<T>(row_of(args_.scale, part_.batch, part_.run) + piece_channel(n), scale);
      MONARCH_UNROLL
      for (int c = 0; c < 8; ++c) {
        use(n, c, (x[c] - mean_) * inverse_, g[c], g[c] * (1.0F + scale[c]));
      }
    }
  }

  MONARCH_DEVICE void normalise() {
    const auto channels = static_cast<float>(args_.channels);
    float sum = 0;
    each_x([&](int, int, float x) { sum += x; });
    mean_ = block_sum(sum, 0) / channels;
    float squares = 0;
    each_x([&](int, int, float x) { squares += (x - mean_) * (x - mean_); });
    const float variance = block_sum(squares, kSumBytes) / channels;
    inverse_ = 1.0F / device::square_root(variance + args_.eps);
  }

  MONARCH_DEVICE void add_up() {
    const auto channels = static_cast<float>(args_.channels);
    float plain = 0;
    float with_norm = 0;
    each_channel([&](int n, int c, float normed, float g, float h) {
      scale_sums_[n][c] += g * normed;
      shift_sums_[n][c] += g;
      plain += h;
      with_norm += h * normed;
    });
    mean_h_ = block_sum(plain, 0) / channels;
    mean_hn_ = block_sum(with_norm, kSumBytes) / channels;
  }

  MONARCH_DEVICE void store(std::uint16_t* row) const {
    float result[kNormPieces][8];
    each_channel([&](int n, int c, float normed, float /*g*/, float h) {
      result[n][c] = inverse_ * (h - mean_h_ - normed * mean_hn_);
    });
    MONARCH_UNROLL
    for (int n = 0; n < kNormPieces; ++n) {
      if (piece_channel(n) >= args_.channels) continue;
      *reinterpret_cast<Piece*>(row + piece_channel(n)) = pack_piece<T>(result[n]);
    }
  }

  const ModulateGradientArgs& args_;
  const RunPart part_;
  Piece x_[kNormPieces];
  Piece gradient_[kNormPieces];
  float mean_ = 0;
  float inverse_ = 0;
  float mean_h_ = 0;
  float mean_hn_ = 0;
  float scale_sums_[kNormPieces][8] = {};
  float shift_sums_[kNormPieces][8] = {};
};

template <typename T>
MONARCH_DEVICE void gated_add_gradient(const ModulateGradientArgs& args) {
  const RunPart part = run_part(args);
  const std::uint16_t* const gate_row = row_of(args.scale, part.batch, part.run);
  float sums[kNormPieces][8] = {};
  for (int at = part.first; at < args.run_tokens; at += args.parts) {
    const int token = part.run * args.run_tokens + at;
    MONARCH_UNROLL
    for (int n = 0; n < kNormPieces; ++n) {
      const int first = piece_channel(n);
      if (first >= args.channels) continue;
      float y[8];
      float g[8];
      float gate[8];
      load_piece<T>(row_of(args.x, part.batch, token) + first, y);
      load_piece<T>(row_of(args.grad_out, part.batch, token) + first, g);
      load_piece<T>(gate_row + first, gate);
      MONARCH_UNROLL
      for (int c = 0; c < 8; ++c) {
        sums[n][c] += g[c] * y[c];
        g[c] *= gate[c];
      }
      *reinterpret_cast<Piece*>(row_of(args.grad_x, part.batch, token) + first) = pack_piece<T>(g);
    }
  }
  store_part(args, 0, sums);
}

// Beyond 10 the derivative is 0 or 1 in float, and its terms would overflow.
template <typename T>
MONARCH_DEVICE void gelu_tanh_gradient(const ModulateGradientArgs& args) {
  constexpr float kRootTwoOverPi = 0.797884560802865F;
  each_piece(args, [&](int batch, int token, int first) {
    float x[8];
    float g[8];
    load_piece<T>(row_of(args.x, batch, token) + first, x);
    load_piece<T>(row_of(args.grad_out, batch, token) + first, g);
    MONARCH_UNROLL
    for (int c = 0; c < 8; ++c) {
      const float near = x[c] > 10.0F ? 10.0F : x[c] < -10.0F ? -10.0F : x[c];
      const float u = kRootTwoOverPi * (near + 0.044715F * near * near * near);
      const float slope = kRootTwoOverPi * (1.0F + 3.0F * 0.044715F * near * near);
      const float power = device::exp2(-2.0F * kLog2E * u);
      const float s = 1.0F / (1.0F + power);
      g[c] *= s + 2.0F * slope * near * s * (power * s);
    }
    *reinterpret_cast<Piece*>(row_of(args.grad_x, batch, token) + first) = pack_piece<T>(g);
  });
}

// A thread two channels of a row of a modulation's gradient.
template <typename T>
MONARCH_DEVICE void add_modulation_sums(const ModulateGradientArgs& args) {
  const std::int64_t index =
      std::int64_t{device::block_index()} * kNormThreads + device::thread_index();
  const int pairs = args.channels / 2;
  const int channel = static_cast<int>(index % pairs) * 2;
  const int run = static_cast<int>(index / pairs % args.runs);
  const std::int64_t batch_and_which = index / pairs / args.runs;
  const int own_batch = static_cast<int>(batch_and_which % args.modulated_batches);
  const int which = static_cast<int>(batch_and_which / args.modulated_batches);
  if (which >= (args.kind == ModulateKind::kNorm ? 2 : 1)) return;
  float low = 0;
  float high = 0;
  for (int batch = own_batch; batch < args.batch; batch += args.modulated_batches) {
    const std::int64_t row = (std::int64_t{batch} * args.runs + run) * args.parts;
    const float* from = args.sums + (which * args.num_blocks + row) * args.channels + channel;
    for (int part = 0; part < args.parts; ++part, from += args.channels) {
      low += from[0];
      high += from[1];
    }
  }
  const Rows<std::uint16_t>& to = which == 0 ? args.grad_scale : args.grad_shift;
  *reinterpret_cast<std::uint32_t*>(row_of(to, own_batch, run) + channel) =
      device::pack<T>(low, high);
}

}  // namespace monarch::attention::cuda::sm80
