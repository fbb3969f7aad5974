#include "monarch/models/wan/tokenizer.h"

#include <sentencepiece_processor.h>

#include <fstream>

#include "monarch/base/error.h"
#include "monarch/base/options_reader.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/sentencepiece_model.h"

// Debian's libsentencepiece and Torch's libc10 both export this name, for an object of 32 bytes and
// for an int. The loader makes them one; with c10's the constructor of sentencepiece writes over
// its neighbours, and Torch aborts where it should throw (out of memory). A program's own symbol
// wins: here is room for either. c10 reads its int only in a parser of flags that nobody calls.
alignas(16) extern char FLAGS_minloglevel[64];
char FLAGS_minloglevel[64] = {};

namespace monarch::models {
namespace {

namespace fs = std::filesystem;

// Reads model.byte_fallback of a Hugging Face tokenizer.json without building its vocabulary (16 MB
// for UMT5).
class ByteFallbackFinder : public nlohmann::json_sax<Json> {
 public:
  std::optional<bool> found;

  bool null() override { return true; }
  bool boolean(bool value) override {
    if (depth_ == 2 && in_model_ && key_ == "byte_fallback") found = value;
    return true;
  }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool start_object(std::size_t /*elements*/) override { return open(); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t /*elements*/) override { return open(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (depth_ == 1) in_model_ = name == "model";
    if (depth_ == 2) key_ = name;
    return true;
  }
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const Json::exception& /*e*/) override {
    error_position = position;
    return false;
  }
  std::size_t error_position = 0;

 private:
  bool open() {
    ++depth_;
    return depth_ < 64;
  }
  bool close() {
    --depth_;
    return true;
  }

  int depth_ = 0;
  bool in_model_ = false;
  std::string key_;
};

std::optional<bool> read_byte_fallback(const fs::path& tokenizer_json) {
  const io::MappedFile file(tokenizer_json);
  const auto bytes = file.bytes();
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  ByteFallbackFinder finder;
  const bool parsed = Json::sax_parse(text, text + bytes.size(), &finder);
  MONARCH_CHECK_CODE(parsed, kCorrupt, "[monarch_models] ", tokenizer_json.string(),
                     " is not valid JSON (near byte ", finder.error_position, ")");
  return finder.found;
}

// A field of the trainer's message appended to a model file; later fields override earlier ones.
std::string byte_fallback_override(bool value) {
  // ModelProto.trainer_spec (2, delimited, 3 bytes) { byte_fallback (35, varint) = value }
  return {'\x12', '\x03', '\x98', '\x02', value ? '\x01' : '\x00'};
}

}  // namespace

struct Tokenizer::Model {
  sentencepiece::SentencePieceProcessor processor;
};

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer::Tokenizer(const fs::path& path, std::int64_t seq_len, std::optional<bool> byte_fallback)
    : seq_len_(seq_len) {
  MONARCH_CHECK(seq_len >= 1 && seq_len <= 1000000, "[monarch_models] the tokenizer's seq_len is ",
                seq_len, "; give a number from 1 to 1000000 (512 for Wan)");
  fs::path file = path;
  if (fs::is_directory(path)) {
    file = path / "spiece.model";
    MONARCH_CHECK_CODE(fs::exists(file), kNotFound, "[monarch_models] ", path.string(),
                       " holds no spiece.model; download it from google/umt5-xxl");
    const fs::path json = path / "tokenizer.json";
    if (!byte_fallback && fs::exists(json)) byte_fallback = read_byte_fallback(json);
  }
  std::string bytes;
  {
    const io::MappedFile mapped(file);
    bytes.assign(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  }
  const io::SentencePieceSummary summary = io::check_sentencepiece_model(bytes, file.string());
  byte_fallback_ = byte_fallback.value_or(summary.byte_fallback);
  MONARCH_CHECK_CODE(
      !byte_fallback_ || summary.num_byte_pieces == 256, kUnsupported, "[monarch_models] ",
      file.string(), " has ", summary.num_byte_pieces,
      " of the 256 byte pieces that byte fallback needs; set byte_fallback to false");
  // The library refuses byte pieces without the flag; where they must not be used, pieces() takes
  // them out again.
  if (summary.num_byte_pieces > 0 && !summary.byte_fallback) bytes += byte_fallback_override(true);
  auto model = std::make_unique<Model>();
  const auto status = model->processor.LoadFromSerializedProto(bytes);
  MONARCH_CHECK_CODE(status.ok(), kCorrupt, "[monarch_models] ", file.string(),
                     " is not a usable sentencepiece model: ", status.error_message());
  model_ = std::move(model);
  MONARCH_CHECK_CODE(eos_id() >= 0 && pad_id() >= 0, kUnsupported, "[monarch_models] ",
                     file.string(), " has no ",
                     eos_id() < 0 ? "end-of-sequence (</s>)" : "padding (<pad>)",
                     " piece, which the text encoder needs");
}

std::int64_t Tokenizer::vocab_size() const { return model_->processor.GetPieceSize(); }
std::int64_t Tokenizer::pad_id() const { return model_->processor.pad_id(); }
std::int64_t Tokenizer::eos_id() const { return model_->processor.eos_id(); }
std::int64_t Tokenizer::bos_id() const { return model_->processor.bos_id(); }
std::int64_t Tokenizer::unk_id() const { return model_->processor.unk_id(); }

std::vector<std::int64_t> Tokenizer::pieces(std::string_view cleaned) const {
  std::vector<int> found;
  const auto status = model_->processor.Encode(cleaned, &found);
  MONARCH_CHECK_CODE(status.ok(), kInternal,
                     "[monarch_models] tokenizing failed: ", status.error_message());
  std::vector<std::int64_t> ids;
  bool in_bytes = false;  // inside a run of byte pieces that stands for unknown characters
  for (const int id : found) {
    const bool unwanted = !byte_fallback_ && model_->processor.IsByte(id);
    if (!unwanted) ids.push_back(id);
    if (unwanted && !in_bytes) ids.push_back(unk_id());
    in_bytes = unwanted;
  }
  ids.push_back(eos_id());
  return ids;
}

TokenBatch Tokenizer::encode(std::span<const std::string> texts) const {
  const auto rows = static_cast<int64_t>(texts.size());
  TokenBatch batch{at::full({rows, seq_len_}, pad_id(), at::kLong),
                   at::zeros({rows, seq_len_}, at::kLong)};
  auto ids = batch.ids.accessor<int64_t, 2>();
  auto mask = batch.mask.accessor<int64_t, 2>();
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<std::int64_t> text = pieces(clean_text(texts[static_cast<size_t>(row)]));
    if (static_cast<int64_t>(text.size()) > seq_len_) {
      text.resize(static_cast<size_t>(seq_len_));
      text.back() = eos_id();
    }
    for (int64_t i = 0; i < static_cast<int64_t>(text.size()); ++i) {
      ids[row][i] = text[static_cast<size_t>(i)];
      mask[row][i] = 1;
    }
  }
  return batch;
}

}  // namespace monarch::models
