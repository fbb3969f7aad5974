// Prompts to token ids of the UMT5 text encoder (a sentencepiece unigram model).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/models/wan/text_cleaning.h"

namespace monarch::models {

struct TokenBatch {
  at::Tensor ids;   // [B, seq_len] int64: pieces, end of sequence, padding
  at::Tensor mask;  // [B, seq_len] int64: 1 up to and including the end of sequence
};

// Const after construction; safe to share between threads.
class Tokenizer {
 public:
  // `path`: a sentencepiece model file, or a folder with spiece.model and optionally tokenizer.json
  // (google/umt5-xxl), whose byte_fallback flag then decides what becomes of unknown characters;
  // `byte_fallback` decides before both. Throws kNotFound, kCorrupt or kUnsupported, naming the
  // file.
  Tokenizer(const std::filesystem::path& path, std::int64_t seq_len,
            std::optional<bool> byte_fallback = std::nullopt);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Cleans (clean_text) and encodes; at most seq_len - 1 pieces are kept.
  TokenBatch encode(std::span<const std::string> texts) const;
  // All ids of a text that has been cleaned, with the end of sequence, without padding.
  std::vector<std::int64_t> pieces(std::string_view cleaned) const;

  std::int64_t seq_len() const { return seq_len_; }
  std::int64_t vocab_size() const;
  // Ids of the special pieces by their type in the model; -1: the model has none.
  std::int64_t pad_id() const;
  std::int64_t eos_id() const;
  std::int64_t bos_id() const;
  std::int64_t unk_id() const;
  // Whether unknown characters become their UTF-8 bytes; otherwise a run of them is one unknown
  // piece.
  bool byte_fallback() const { return byte_fallback_; }

 private:
  struct Model;  // keeps the library out of this header
  std::unique_ptr<const Model> model_;
  std::int64_t seq_len_;
  bool byte_fallback_ = false;
};

}  // namespace monarch::models
