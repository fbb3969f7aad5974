#include "monarch/io/sentencepiece_model.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/io/files.h"

namespace monarch::io {
namespace {

constexpr std::string_view kBadMap = "the character map of its normaliser is not a valid trie";

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string number(std::uint32_t field, std::uint64_t value) {
  return varint(field << 3) + varint(value);
}

std::string delimited(std::uint32_t field, std::string_view content) {
  return varint(field << 3 | 2) + varint(content.size()) + std::string(content);
}

const std::string kPiece = delimited(1, delimited(1, "a") + number(3, 6));

// A double array of one block that maps "a" to the replacement at position 0: the root's children
// lie at base 0, a's value beside a.
struct Trie {
  std::array<std::uint32_t, 256> units{};
  Trie() {
    units['a'] = (1U << 10) | (1U << 8) | 'a';  // offset 1, has a value
    units['a' ^ 1U] = 0x80000000U;              // value 0
  }
  // A model with this map; `pool` holds the replacements.
  std::string model(std::string_view pool = std::string_view("b\0", 2)) const {
    std::string blob(4 + sizeof(units), '\0');
    const auto size = static_cast<std::uint32_t>(sizeof(units));
    std::memcpy(blob.data(), &size, 4);
    std::memcpy(blob.data() + 4, units.data(), sizeof(units));
    return kPiece + delimited(3, delimited(2, blob.append(pool)));
  }
};

SentencePieceSummary check(const std::string& bytes) {
  return check_sentencepiece_model(bytes, "x.model");
}

TEST(SentencePieceModel, SummarisesRealModels) {
  const std::filesystem::path fixtures =
      std::filesystem::path(MONARCH_SOURCE_DIR) / "tests/fixtures/wan";
  const SentencePieceSummary plain = check(read_raw(fixtures / "tokenizer_unk.model"));
  EXPECT_EQ(plain.num_pieces, 525U);
  EXPECT_EQ(plain.num_byte_pieces, 0U);
  EXPECT_FALSE(plain.byte_fallback);
  const SentencePieceSummary bytes = check(read_raw(fixtures / "tokenizer_bytefallback.model"));
  EXPECT_EQ(bytes.num_pieces, 791U);
  EXPECT_EQ(bytes.num_byte_pieces, 256U);
  EXPECT_TRUE(bytes.byte_fallback);
}

TEST(SentencePieceModel, AcceptsASmallTrie) {
  const SentencePieceSummary summary = check(Trie().model());
  EXPECT_EQ(summary.num_pieces, 1U);
  EXPECT_EQ(summary.num_byte_pieces, 1U);
}

TEST(SentencePieceModel, CountsAPieceOnceWhoseTypeComesTwice) {
  const auto piece = [](std::uint64_t first_type, std::uint64_t second_type) {
    return delimited(1, delimited(1, "a") + number(3, first_type) + number(3, second_type));
  };
  EXPECT_EQ(check(piece(6, 6)).num_byte_pieces, 1U);
  EXPECT_EQ(check(piece(6, 1)).num_byte_pieces, 0U);  // the last one counts
}

TEST(SentencePieceModel, RefusesTriesThatLeadOutside) {
  Trie far_child;
  far_child.units['a'] = (256U << 10) | 'a';
  Trie far_value;
  far_value.units['a'] = (1024U << 10) | (1U << 8) | 'a';
  Trie long_value;
  long_value.units['a' ^ 1U] = 0x80000000U | 2U;
  Trie zero_byte;  // followed by texts that hold a zero byte
  zero_byte.units[0] = 2U << 10;
  zero_byte.units[2] = 512U << 10;
  for (const Trie& trie : {far_child, far_value, long_value, zero_byte}) {
    expect_error([&] { check(trie.model()); }, ErrorCode::kCorrupt, {"x.model", kBadMap});
  }
  expect_error([&] { check(Trie().model("b")); }, ErrorCode::kCorrupt, {kBadMap});
}

TEST(SentencePieceModel, RefusesEveryCut) {
  const std::string whole = Trie().model();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    if (size == kPiece.size()) continue;  // a whole model of one piece
    expect_error([&] { check(whole.substr(0, size)); }, ErrorCode::kCorrupt, {"x.model"});
  }
}

}  // namespace
}  // namespace monarch::io
