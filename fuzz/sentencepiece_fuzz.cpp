#include "fuzz/target.h"
#include "monarch/io/sentencepiece_model.h"

void monarch::fuzz::run(std::span<const std::byte> bytes) {
  const std::string_view model(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const io::SentencePieceSummary summary = io::check_sentencepiece_model(model, "fuzz");
  if (summary.num_pieces == 0 || summary.num_byte_pieces > summary.num_pieces) std::abort();
}
