// A Wan model on disk: tokenizer, text encoder, transformer and VAE of one folder
// (models/wan/model_folder.h says how they are found), loaded when they are needed.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/models/wan/causal_dit.h"
#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/generator_checkpoint.h"
#include "monarch/models/wan/model_folder.h"
#include "monarch/models/wan/tokenizer.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/models/wan/vae.h"

namespace monarch::pipelines {

struct WanSystemOptions {
  at::ScalarType dtype = at::kFloat;  // of the computation and of the loaded weights
  at::Device device = at::kCPU;
  // Nothing is kept: each network is loaded for its stage and freed with the last reference to it,
  // and transformer weights stay in the type of their file, converted layer by layer while they are
  // used.
  bool low_memory = false;
  // Replaces the folder's transformer weights: a trained generator of the same size
  // (models/wan/generator_checkpoint.h).
  std::filesystem::path generator_checkpoint = {};
  models::GeneratorWeights generator_weights = models::GeneratorWeights::kAveraged;
  // Processes that make every video together, with this one; null: this one alone. What they ask
  // of the transformer must be alike.
  std::shared_ptr<parallel::Communicator> sequence = nullptr;
};

// What stays on the device between the stages of runs, and where networks lie that do not fit it
// (pipelines/memory_plan.h chooses).
struct Residency {
  enum class Text { kKept, kFreed, kOnHost };  // kOnHost: it lies and runs on the CPU
  enum class Transformer { kKept, kFreed, kStreamed };
  Text text = Text::kKept;
  Transformer transformer = Transformer::kKept;  // kStreamed: models/wan/streamed_layers.h
  bool keep_vae = true;

  bool operator==(const Residency&) const = default;
};

// Not thread-safe while loading; what it returns is const and shared.
class WanSystem {
 public:
  // Reads the configuration and the headers of all weights, so that a wrong folder is known before
  // any work: one error names every missing file (kNotFound), one every missing, misshapen and
  // foreign tensor of all parts (kCorrupt).
  explicit WanSystem(std::filesystem::path folder, WanSystemOptions options = {});

  const std::filesystem::path& folder() const { return folder_; }
  const WanSystemOptions& options() const { return options_; }
  // For what is loaded from now on; with low_memory nothing is kept, whatever it says.
  void set_residency(const Residency& residency) { residency_ = residency; }
  const Residency& residency() const { return residency_; }
  const models::WanConfig& transformer_config() const { return transformer_config_; }
  const models::VaeConfig& vae_config() const { return vae_config_; }
  const models::Umt5Config& text_config() const { return text_config_; }
  at::TensorOptions tensor_options() const {
    return at::TensorOptions().dtype(options_.dtype).device(options_.device);
  }

  // Of its weights, which are loaded in the types of their file.
  double text_encoder_bytes() const;

  // What the transformer reads of prompts: [B, text_len, text_dim], rows beyond each prompt zero.
  at::Tensor encode_text(std::span<const std::string> prompts);

  // The transformer with settings of the run (attention, chunks) in `config`, whose sizes must be
  // those of transformer_config(). Weights are read once and shared unless low_memory.
  std::shared_ptr<const models::WanDit> transformer(const models::WanConfig& config);
  std::shared_ptr<const models::CausalWanDit> causal_transformer(const models::WanConfig& config);
  std::shared_ptr<const models::WanVae> vae();

  // Throws, because `what` ("the latents") came out as NaN or infinity: names the first tensor of
  // the weights that is not finite (reads all of them), or says that none is.
  [[noreturn]] void fail_not_finite(std::string_view what) const;

 private:
  struct TextEncoder {
    models::Tokenizer tokenizer;
    models::Umt5Encoder encoder;
  };

  struct TransformerWeights {
    models::TensorMap tensors;  // without the layers if those are streamed
    std::shared_ptr<models::LayerSource> layers;
  };

  struct Part {
    std::string name;
    std::shared_ptr<const io::Checkpoint> checkpoint;
    models::ShapeMap shapes;  // of its tensors, under Wan's names
  };

  std::shared_ptr<const io::Checkpoint> open_transformer() const;
  std::vector<Part> open_parts() const;
  void check_weights() const;
  models::TensorMap load(const std::shared_ptr<const io::Checkpoint>& checkpoint, bool convert,
                         at::Device device) const;
  at::Device text_device() const;
  std::shared_ptr<const TransformerWeights> transformer_weights();
  std::shared_ptr<const TextEncoder> text_encoder();

  std::filesystem::path folder_;
  WanSystemOptions options_;
  models::WanConfig transformer_config_;
  models::VaeConfig vae_config_;
  models::Umt5Config text_config_;
  models::ModelFolder model_;
  Residency residency_;
  std::shared_ptr<const TransformerWeights> transformer_weights_;
  std::shared_ptr<const TextEncoder> text_encoder_;
  std::shared_ptr<const models::WanVae> vae_;
};

}  // namespace monarch::pipelines
