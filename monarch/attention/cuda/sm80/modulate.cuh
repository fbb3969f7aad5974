// Modulated layer norm, gated residual and GELU (formulas: modulate.h), every channel read once and
// written once, 16 bytes at a time. The norm takes a thread block a token, whose channels stay in
// registers; mean first, then variance around it, so that a large mean costs no digits.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/modulate_args.h"
#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/sm80/token_row.cuh"

namespace monarch::attention::cuda::sm80 {

constexpr int modulate_shared_bytes(ModulateKind kind) {
  return kind == ModulateKind::kNorm ? 2 * kSumBytes : 0;
}

template <typename Element>
MONARCH_DEVICE Element* row_of(const Rows<Element>& rows, int batch, int row) {
  return rows.data + batch * rows.batch_stride + row * rows.row_stride;
}

template <typename T>
MONARCH_DEVICE void unpack_piece(const Piece& piece, float (&values)[8]) {
  MONARCH_UNROLL
  for (int pair = 0; pair < 4; ++pair) {
    float two[2];
    device::unpack<T>(piece.words[pair], two);
    values[2 * pair] = two[0];
    values[2 * pair + 1] = two[1];
  }
}
template <typename T>
MONARCH_DEVICE Piece pack_piece(const float (&values)[8]) {
  Piece piece;
  MONARCH_UNROLL
  for (int pair = 0; pair < 4; ++pair) {
    piece.words[pair] = device::pack<T>(values[2 * pair], values[2 * pair + 1]);
  }
  return piece;
}
template <typename T>
MONARCH_DEVICE void load_piece(const std::uint16_t* from, float (&values)[8]) {
  unpack_piece<T>(*reinterpret_cast<const Piece*>(from), values);
}

template <typename T>
MONARCH_DEVICE void modulated_norm(const ModulateArgs& args) {
  const int batch = device::block_index() / args.tokens;
  const int token = device::block_index() % args.tokens;
  const int run = token / args.run_tokens;
  Piece pieces[kNormPieces];
  load_row(pieces, row_of(args.x, batch, token), args.channels);
  float sum = 0;
  MONARCH_UNROLL
  for (const Piece& piece : pieces) {
    float x[8];
    unpack_piece<T>(piece, x);
    MONARCH_UNROLL
    for (const float value : x) sum += value;
  }
  const auto channels = static_cast<float>(args.channels);
  const float mean = block_sum(sum, 0) / channels;
  float squares = 0;
  MONARCH_UNROLL
  for (int n = 0; n < kNormPieces; ++n) {
    if (piece_channel(n) >= args.channels) continue;
    float x[8];
    unpack_piece<T>(pieces[n], x);
    MONARCH_UNROLL
    for (const float value : x) squares += (value - mean) * (value - mean);
  }
  const float variance = block_sum(squares, kSumBytes) / channels;
  const float inverse = 1.0F / device::square_root(variance + args.eps);
  MONARCH_UNROLL
  for (int n = 0; n < kNormPieces; ++n) {
    const int first = piece_channel(n);
    if (first >= args.channels) continue;
    float x[8];
    float scale[8];
    float shift[8];
    unpack_piece<T>(pieces[n], x);
    load_piece<T>(row_of(args.scale, batch, run) + first, scale);
    load_piece<T>(row_of(args.shift, batch, run) + first, shift);
    MONARCH_UNROLL
    for (int c = 0; c < 8; ++c) x[c] = (x[c] - mean) * inverse * (1.0F + scale[c]) + shift[c];
    *reinterpret_cast<Piece*>(row_of(args.out, batch, token) + first) = pack_piece<T>(x);
  }
}

// Calls compute(batch, token, first channel) for a thread's eight channels.
template <typename Args, typename Compute>
MONARCH_DEVICE void each_piece(const Args& args, const Compute& compute) {
  const std::int64_t piece =
      std::int64_t{device::block_index()} * kNormThreads + device::thread_index();
  const int pieces = args.channels / 8;
  const std::int64_t row = piece / pieces;
  const int batch = static_cast<int>(row / args.tokens);
  if (batch >= args.batch) return;
  compute(batch, static_cast<int>(row % args.tokens), static_cast<int>(piece % pieces) * 8);
}

template <typename T>
MONARCH_DEVICE void gated_add(const ModulateArgs& args) {
  each_piece(args, [&](int batch, int token, int first) {
    float x[8];
    float y[8];
    float gate[8];
    load_piece<T>(row_of(args.x, batch, token) + first, x);
    load_piece<T>(row_of(args.y, batch, token) + first, y);
    load_piece<T>(row_of(args.scale, batch, token / args.run_tokens) + first, gate);
    MONARCH_UNROLL
    for (int c = 0; c < 8; ++c) x[c] += gate[c] * y[c];
    *reinterpret_cast<Piece*>(row_of(args.out, batch, token) + first) = pack_piece<T>(x);
  });
}

// 1/2 (1 + tanh u) is 1 / (1 + e^-2u).
template <typename T>
MONARCH_DEVICE void gelu_tanh(const ModulateArgs& args) {
  constexpr float kRootTwoOverPi = 0.797884560802865F;
  each_piece(args, [&](int batch, int token, int first) {
    float x[8];
    load_piece<T>(row_of(args.x, batch, token) + first, x);
    MONARCH_UNROLL
    for (float& value : x) {
      const float u = kRootTwoOverPi * (value + 0.044715F * value * value * value);
      value /= 1.0F + device::exp2(-2.0F * kLog2E * u);
    }
    *reinterpret_cast<Piece*>(row_of(args.out, batch, token) + first) = pack_piece<T>(x);
  });
}

}  // namespace monarch::attention::cuda::sm80
