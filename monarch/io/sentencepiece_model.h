// Checks a sentencepiece model file before the library sees it: the library trusts the double-array
// trie of the normaliser's character map, and a damaged or hostile one would make it read outside
// its memory.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace monarch::io {

struct SentencePieceSummary {
  std::size_t num_pieces = 0;
  std::size_t num_byte_pieces = 0;
  bool byte_fallback = false;  // the trainer's flag
};

// Throws kCorrupt (naming `where`) for broken bytes, kUnsupported for a model that is not a unigram
// model.
SentencePieceSummary check_sentencepiece_model(std::string_view bytes, const std::string& where);

}  // namespace monarch::io
