#include "monarch/io/sentencepiece_model.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "monarch/base/error.h"

namespace monarch::io {
namespace {

// A field of a protocol buffer message in wire format.
struct Field {
  std::uint32_t number = 0;
  std::uint32_t wire_type = 0;  // 0 varint, 1 eight bytes, 2 delimited, 5 four bytes
  std::uint64_t varint = 0;
  std::string_view bytes;  // wire types 1, 2, 5
};

class WireReader {
 public:
  WireReader(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::optional<Field> next() {
    if (bytes_.empty()) return std::nullopt;
    const std::uint64_t tag = read_varint();
    Field field;
    field.number = static_cast<std::uint32_t>(tag >> 3);
    field.wire_type = static_cast<std::uint32_t>(tag & 7);
    switch (field.wire_type) {
      case 0: field.varint = read_varint(); break;
      case 1: field.bytes = take(8); break;
      case 2: field.bytes = take(read_varint()); break;
      case 5: field.bytes = take(4); break;
      default: broken();
    }
    return field;
  }

  [[noreturn]] void broken() const {
    fail(ErrorCode::kCorrupt, "[monarch_io] ", where_,
         " is not a sentencepiece model: its message structure is broken or cut off");
  }

 private:
  std::uint64_t read_varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (bytes_.empty()) broken();
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if (byte < 0x80) return value;
    }
    broken();
  }

  std::string_view take(std::uint64_t size) {
    if (size > bytes_.size()) broken();
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }

  std::string_view bytes_;
  const std::string& where_;
};

// A unit of a darts-clone double array.
struct TrieUnit {
  std::uint32_t bits;
  bool has_leaf() const { return ((bits >> 8) & 1U) != 0; }
  std::uint32_t value() const { return bits & 0x7FFFFFFFU; }
  std::uint32_t label() const { return bits & (0x80000000U | 0xFFU); }
  std::uint32_t offset() const { return (bits >> 10) << ((bits & (1U << 9)) >> 6); }
};

// Visits every state a look-up can reach, one of a text with zero bytes too; the library itself
// checks no index.
bool is_safe_trie(const std::vector<TrieUnit>& units, std::size_t pool_size) {
  std::vector<bool> seen(units.size(), false);
  std::vector<std::size_t> bases = {units[0].offset()};
  while (!bases.empty()) {
    const std::size_t base = bases.back();
    bases.pop_back();
    if ((base | 0xFFU) >= units.size()) return false;
    for (std::uint32_t label = 0; label < 256; ++label) {
      const std::size_t index = base ^ label;
      const TrieUnit unit = units[index];
      if (unit.label() != label || seen[index]) continue;
      seen[index] = true;
      const std::size_t next = index ^ unit.offset();
      if (unit.has_leaf() && (next >= units.size() || units[next].value() >= pool_size))
        return false;
      bases.push_back(next);
    }
  }
  return true;
}

// Blob: trie size in bytes (little endian), trie, then NUL-terminated replacement strings.
void check_character_map(std::string_view blob, const std::string& where) {
  if (blob.empty()) return;  // identity
  std::uint32_t trie_bytes = 0;
  if (blob.size() > sizeof(trie_bytes)) std::memcpy(&trie_bytes, blob.data(), sizeof(trie_bytes));
  const std::string_view rest =
      blob.size() > sizeof(trie_bytes) ? blob.substr(sizeof(trie_bytes)) : std::string_view();
  bool good =
      trie_bytes >= 1024 && trie_bytes % 4 == 0 && trie_bytes < rest.size() && rest.back() == '\0';
  if (good) {
    std::vector<TrieUnit> units(trie_bytes / sizeof(TrieUnit));
    std::memcpy(units.data(), rest.data(), trie_bytes);
    good = is_safe_trie(units, rest.size() - trie_bytes);
  }
  MONARCH_CHECK_CODE(good, kCorrupt, "[monarch_io] ", where,
                     " is damaged: the character map of its normaliser is not a valid trie");
}

void check_piece(std::string_view message, SentencePieceSummary& summary,
                 const std::string& where) {
  WireReader reader(message, where);
  bool is_byte = false;  // of a field that comes twice the last one counts
  while (const auto field = reader.next()) {
    if (field->number == 2 && field->wire_type == 5) {
      float score = 0;
      std::memcpy(&score, field->bytes.data(), sizeof(score));
      MONARCH_CHECK_CODE(std::isfinite(score), kCorrupt, "[monarch_io] ", where,
                         " is damaged: the score of piece ", summary.num_pieces, " is not finite");
    } else if (field->number == 3 && field->wire_type == 0) {
      is_byte = field->varint == 6;
    }
  }
  if (is_byte) ++summary.num_byte_pieces;
  ++summary.num_pieces;
}

void check_trainer(std::string_view message, SentencePieceSummary& summary,
                   const std::string& where) {
  WireReader reader(message, where);
  while (const auto field = reader.next()) {
    if (field->number == 3 && field->wire_type == 0) {
      MONARCH_CHECK_CODE(field->varint == 1, kUnsupported, "[monarch_io] ", where,
                         " is a sentencepiece model of type ", field->varint,
                         "; the text encoder needs a unigram model (type 1)");
    } else if (field->number == 35 && field->wire_type == 0) {
      summary.byte_fallback = field->varint != 0;
    }
  }
}

}  // namespace

SentencePieceSummary check_sentencepiece_model(std::string_view bytes, const std::string& where) {
  constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
  MONARCH_CHECK_CODE(bytes.size() <= kMaxBytes, kCorrupt, "[monarch_io] ", where, " has ",
                     bytes.size(), " bytes; a sentencepiece model has at most ", kMaxBytes);
  SentencePieceSummary summary;
  WireReader reader(bytes, where);
  while (const auto field = reader.next()) {
    if (field->wire_type != 2) continue;
    if (field->number == 1) check_piece(field->bytes, summary, where);
    if (field->number == 2) check_trainer(field->bytes, summary, where);
    if (field->number == 3 || field->number == 5) {  // normaliser, denormaliser
      WireReader normalizer(field->bytes, where);
      while (const auto entry = normalizer.next()) {
        if (entry->number == 2 && entry->wire_type == 2) check_character_map(entry->bytes, where);
      }
    }
  }
  MONARCH_CHECK_CODE(summary.num_pieces > 0, kCorrupt, "[monarch_io] ", where,
                     " is not a sentencepiece model: it has no pieces");
  return summary;
}

}  // namespace monarch::io
