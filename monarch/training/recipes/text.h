// Trains the text encoder alone, before the video model: every output token must tell, through one
// linear map, the attributes of the first and second shape and the background. The denoiser's
// cross-attention can then read the attributes wherever it looks, and the encoder stays fixed, so
// embeddings are computed once.
#pragma once

#include "monarch/models/wan/tokenizer.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/training/data/shapes_dataset.h"
#include "monarch/training/trainer.h"

namespace monarch::training {

struct TextRecipeOptions {
  std::filesystem::path tokenizer;  // spiece.model
  models::Umt5Config umt5;          // vocab_size is taken from the tokenizer
  int64_t batch = 64;
  std::uint64_t seed = 1;
};

// The sizes of the shapes model's encoder.
models::Umt5Config shapes_umt5_config();

class TextRecipe : public Recipe {
 public:
  explicit TextRecipe(TextRecipeOptions options);
  std::string name() const override { return "text"; }
  // The encoder's, and "attributes.{weight,bias}" of the linear map.
  const models::TensorMap& parameters() const override { return parameters_; }
  at::Tensor loss(const models::TensorMap& parameters, int64_t step, int64_t part,
                  int64_t parts) const override;
  int64_t samples(int64_t /*step*/) const override { return options_.batch; }
  const models::Umt5Config& umt5() const { return options_.umt5; }

  // Share of `count` captions of which an attribute is read rightly from the mean over tokens: one
  // entry an attribute, by name; scenes are drawn as in `data`.
  std::map<std::string, double> accuracy(const models::TensorMap& parameters,
                                         const ShapesDataset& data, int64_t count) const;

 private:
  at::Tensor attribute_logits(const models::TensorMap& parameters,
                              const models::TokenBatch& tokens) const;

  TextRecipeOptions options_;
  models::Tokenizer tokenizer_;
  ShapesDataset data_;
  models::TensorMap parameters_;
};

// The encoder's tensors among a text recipe's parameters.
models::TensorMap encoder_parameters(const models::TensorMap& parameters);

}  // namespace monarch::training
