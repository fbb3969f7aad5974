// A video made chunk by chunk: each chunk of frames attends to itself and to all before it, whose
// keys and values lie in a cache in the order the kernels read them.
//
//   c++ -std=c++20 streaming.cpp $(pkg-config --cflags --libs monarch) -o streaming
//
// Ends with 1 if something fails or the cache changes a result.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "monarch/attention/registry.h"

namespace {

namespace attention = monarch::attention;
using attention::read_only;
using monarch::DType;

constexpr std::int64_t kChunks = 3;
constexpr std::int64_t kHeads = 2;
constexpr std::int64_t kDim = 64;
constexpr int kThreads = 2;

// The first query chunk of a video of 9 frames of 8 x 12 tokens, in blocks of 3 frames x half the
// rows.
constexpr attention::MonarchProblem kChunk{.num_heads = kHeads,
                                           .head_dim = kDim,
                                           .q_frames = 3,
                                           .kv_frames = 3,
                                           .height = 8,
                                           .width = 12,
                                           .f_tied = 3,
                                           .h_reduce = 2};
constexpr std::int64_t kTokens = kChunk.q_tokens();  // of a chunk

// Tokens first..first+count-1 of [1, N, H, D].
monarch::TensorView tokens(std::vector<float>& data, std::int64_t first, std::int64_t count) {
  const std::vector<std::int64_t> shape{1, count, kHeads, kDim};
  return {data.data() + first * kHeads * kDim, DType::kF32, shape,
          monarch::contiguous_strides(shape)};
}

std::vector<float> random_floats(std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(kChunks * kTokens * kHeads * kDim));
  for (float& value : values) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<float>(seed >> 8) / 8388608.0F - 1.0F;
  }
  return values;
}

void attend(const attention::MonarchProblem& problem, const attention::ForwardTensors& tensors) {
  const attention::Implementation& kernels = attention::choose(problem, DType::kF32);
  std::vector<std::byte> workspace(kernels.forward_workspace(problem, kThreads));
  kernels.forward(problem, tensors, kThreads, workspace);
}

// How far a result through the cache may be from one without: they differ in nothing but order.
bool run() {
  std::vector<float> q = random_floats(1);
  std::vector<float> k = random_floats(2);
  std::vector<float> v = random_floats(3);
  std::vector<float> out(q.size());
  std::vector<float> expected(q.size());
  std::vector<float> k_cache(k.size());  // room for the whole video
  std::vector<float> v_cache(v.size());

  attention::MonarchProblem cached = kChunk;
  cached.kv_block_order = true;
  attention::MonarchProblem plain = kChunk;
  for (std::int64_t chunk = 0; chunk < kChunks; ++chunk) {
    const std::int64_t start = chunk * kTokens;
    const std::int64_t end = start + kTokens;
    cached.kv_frames = plain.kv_frames = (chunk + 1) * kChunk.q_frames;

    // New keys and values go into the cache, then the chunk reads all that is there.
    attention::copy_to_block_order(cached.layout(), read_only(tokens(k, start, kTokens)), start,
                                   tokens(k_cache, 0, kChunks * kTokens));
    attention::copy_to_block_order(cached.layout(), read_only(tokens(v, start, kTokens)), start,
                                   tokens(v_cache, 0, kChunks * kTokens));
    const monarch::ConstTensorView queries = read_only(tokens(q, start, kTokens));
    attend(cached, {queries, read_only(tokens(k_cache, 0, end)), read_only(tokens(v_cache, 0, end)),
                    tokens(out, start, kTokens)});
    attend(plain, {queries, read_only(tokens(k, 0, end)), read_only(tokens(v, 0, end)),
                   tokens(expected, start, kTokens)});
  }

  float largest = 0;
  for (std::size_t at = 0; at < out.size(); ++at)
    largest = std::max(largest, std::abs(out[at] - expected[at]));
  std::printf("%s: %d chunks through the cache, largest difference %g\n",
              std::string(attention::choose(cached, DType::kF32).name()).c_str(),
              static_cast<int>(kChunks), static_cast<double>(largest));
  return largest < 1e-5F;
}

}  // namespace

int main() {
  try {
    const bool same = run();
    attention::MonarchProblem wrong = kChunk;
    wrong.w_reduce = 5;
    try {
      attention::validate(wrong);
    } catch (const monarch::Error& error) {
      std::printf("refused: %s\n", error.what());
      return same ? 0 : 1;
    }
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
