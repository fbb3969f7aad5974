// Hyperparameters of the Wan diffusion transformer.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "monarch/base/options_reader.h"
#include "monarch/models/wan/attention_rules.h"
#include "monarch/ops/monarch_options.h"

namespace monarch::parallel {
class Communicator;
}

namespace monarch::models {

// Keys and defaults are those of the published config.json (1.3B text-to-video); the causal keys
// come from the run configuration.
struct WanConfig {
  std::string model_type = "t2v";              // or "i2v"
  std::array<int64_t, 3> patch_size{1, 2, 2};  // latent frames, rows, columns of a token
  int64_t text_len = 512;                      // context rows after padding
  int64_t in_dim = 16;                         // latent channels in, with appended `y`
  int64_t dim = 1536;
  int64_t ffn_dim = 8960;
  int64_t freq_dim = 256;  // width of the sinusoid of the timestep
  int64_t text_dim = 4096;
  int64_t out_dim = 16;
  int64_t num_heads = 12;
  int64_t num_layers = 30;
  bool qk_norm = true;
  bool cross_attn_norm = true;
  double eps = 1e-6;
  int64_t clip_dim = 1280;  // i2v: width of the image features
  // Self-attention: Monarch if monarch.enable, else VMonarch if set (bidirectional model only),
  // else dense.
  ops::MonarchOptions monarch;
  std::optional<ops::VMonarchOptions> vmonarch;
  // Exceptions by layer, head, denoising step and chunk.
  std::vector<AttentionRule> attention;

  int64_t num_frame_per_block = 1;  // latent frames of a chunk
  bool independent_first_frame = false;
  int64_t local_attn_size = -1;  // frames a query sees; -1: all
  int64_t sink_size = 0;         // frames that eviction keeps at the start of the cache
  // Eviction moves the positions of the frames it keeps on with the window, so that distances stay
  // within the length of training (Xiao et al. 2023, arXiv 2309.17453, section 3.2). Published:
  // not.
  bool relative_sink = false;

  // Softmax scale of Monarch attention in causal passes over whole sequences (training); D^-1/2
  // unless set. Not a key of config.json: the published training code used 1 by mistake.
  std::optional<double> causal_train_scale;
  // Activation checkpointing: passes that record gradients keep a layer's inputs alone and compute
  // it again in the backward pass. Not a key of config.json.
  bool recompute_layers = false;
  // Processes that make every video together (monarch/models/wan/sequence.h); null: this one alone.
  // Passes are collective then, and not thread-safe. Not a key of config.json.
  std::shared_ptr<parallel::Communicator> sequence;

  int64_t head_dim() const { return dim / num_heads; }
  bool image_to_video() const { return model_type == "i2v"; }

  // Keys that from_json reads.
  static const std::vector<std::string>& keys();
  // Reads config.json or a configuration section; unknown keys and impossible values are errors.
  static WanConfig from_json(const Json& json, const std::string& where = "model");
  // Throws if the values do not describe a model.
  void validate() const;
};

}  // namespace monarch::models
