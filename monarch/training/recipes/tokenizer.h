// Trains a sentencepiece unigram model on generated captions, with sentencepiece's own trainer.
#pragma once

#include <cstdint>
#include <filesystem>

namespace monarch::training {

struct TokenizerOptions {
  int vocab_size = 320;  // an upper bound; T5's layout: pad 0, end 1, unknown 2
  int captions = 20000;
  std::uint64_t seed = 1;
};

// Writes the model to `path` (…/spiece.model). Throws kIo if it cannot, kInternal if the trainer
// fails.
void train_tokenizer(const std::filesystem::path& path, const TokenizerOptions& options);

}  // namespace monarch::training
