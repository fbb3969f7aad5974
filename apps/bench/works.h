// The works that `monarch bench` knows.
#pragma once

#include <filesystem>
#include <string>

#include "apps/bench/harness.h"
#include "apps/shipped.h"
#include "monarch/ops/monarch_options.h"

namespace monarch::apps {

inline constexpr std::uint64_t kBenchSeed = 7;
// Of a whole VAE against float64.
inline constexpr Tolerance kVaeTolerance{.f32 = 2e-5, .bf16 = 5e-2};

struct AttentionBench {
  std::string preset = "monarchrt";  // or "vmonarch", "dense"
  std::int64_t batch = 1;
  std::int64_t query_frames = 3;
  std::int64_t kv_frames = 21;
  std::int64_t rows = 30, columns = 52;  // tokens of a frame
  std::int64_t heads = 2;
  std::int64_t head_dim = 128;
  std::string dtype = "f32";  // or "bf16", "f16"
  bool backward = false;      // also time the gradients
  ops::MonarchOptions monarch;
  ops::VMonarchOptions vmonarch;
};

// In turns: our kernels ("monarch"); the same formula composed of Torch operators, in chunks and
// layouts chosen for speed ("torch-composed") and as it is written ("torch-einsum", one-step
// MonarchRT only); Torch's dense attention of the same tokens ("torch-dense"); a 2048^3 matrix
// product for scale ("torch-matmul"). Ours and the product on one thread, too. On a GPU the product
// is 8192^3, and dense attention is there by name as well ("torch-flash", "torch-cudnn").
void bench_attention(BenchReport& report, const AttentionBench& options);

// The MonarchRT authors' protocol (arXiv 2602.12271, kernel figures): 1 to kv_frames (21) frames of
// keys and values, a stream's chunk of three frames and whole videos, at 480p and 720p, against
// dense attention, with the batch, heads, head_dim and dtype of `options`. `plot`: SVG file of time
// against frames, or empty.
void bench_attention_protocol(BenchReport& report, const AttentionBench& options,
                              const std::filesystem::path& plot);

// One layer of the 1.3B transformer over 3 frames of 30x52 tokens, dense and Monarch.
void bench_layer(BenchReport& report);

// RMS norm, rotary embedding and cache write of one such layer, against Torch's operators.
void bench_norm_rope(BenchReport& report);

// One layer of UMT5-XXL over 512 tokens.
void bench_text(BenchReport& report);

// Decode of `latent_frames` latent frames of latent_height x latent_width, and encode of the same
// video.
struct VaeBench {
  std::int64_t width = 96;  // base width of the network
  std::int64_t latent_frames = 3, latent_height = 30, latent_width = 52;
};
void bench_vae(BenchReport& report, const VaeBench& options);

// A training step (flow matching, AdamW) of a random model: at the sizes of the shapes model, and
// of two layers at 1.3B widths. The gradient is verified against that of composed attention.
struct TrainingBench {
  bool shapes = true, wide = true;  // which of the two
};
void bench_training(BenchReport& report, const TrainingBench& options);

// A model folder at work: the stages of whole videos and of streaming, with loaded weights.
struct GenerateBench {
  std::string model = kShapesModel;
  std::string prompt = "a red circle moving right";
  bool whole = true, streaming = true;                            // which of the two
  std::int64_t width = 0, height = 0, num_frames = 0, steps = 0;  // 0: the folder's generate.yaml
  std::int64_t chunk_frames = 3;    // streaming: latent frames of a chunk (4 pixel frames each)
  std::int64_t cached_frames = 18;  // streaming: latent frames that the chunk looks back on
};
void bench_generate(BenchReport& report, const GenerateBench& options);

}  // namespace monarch::apps
