#include "monarch/models/wan/tokenizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "monarch/base/error.h"
#include "tests/support/message_of.h"

namespace monarch::models {
namespace {

namespace fs = std::filesystem;

const fs::path kFixtures = fs::path(MONARCH_SOURCE_DIR) / "tests/fixtures/wan";
const fs::path kBytes = kFixtures / "tokenizer_bytefallback.model";
const fs::path kUnk = kFixtures / "tokenizer_unk.model";

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class TokenizerFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::path(testing::TempDir()) /
        (std::string("tokenizer_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }

  fs::path folder_;
};

TEST(Tokenizer, EndsPadsAndMasks) {
  const Tokenizer tokenizer(kBytes, 8);
  const std::vector<std::string> texts = {"", "A", "word word word word word word word word word"};
  const TokenBatch batch = tokenizer.encode(texts);
  ASSERT_EQ(batch.ids.sizes(), (std::vector<int64_t>{3, 8}));
  EXPECT_TRUE(at::equal(batch.mask.sum(1), at::tensor({1, 2, 8}, at::kLong)));
  EXPECT_EQ(batch.ids[0][0].item<int64_t>(), tokenizer.eos_id());
  EXPECT_EQ(batch.ids[0][1].item<int64_t>(), tokenizer.pad_id());
  EXPECT_EQ(batch.ids[2][7].item<int64_t>(), tokenizer.eos_id());  // cut, and still ended
}

TEST(Tokenizer, ReadsSpecialPieces) {
  const Tokenizer t5(kUnk, 8);
  EXPECT_EQ(t5.pad_id(), 0);
  EXPECT_EQ(t5.eos_id(), 1);
  EXPECT_EQ(t5.unk_id(), 2);
  EXPECT_EQ(t5.bos_id(), -1);
  EXPECT_FALSE(t5.byte_fallback());
  const Tokenizer umt5(kBytes, 8);
  EXPECT_EQ(umt5.bos_id(), 2);
  EXPECT_EQ(umt5.unk_id(), 3);
  EXPECT_TRUE(umt5.byte_fallback());
}

TEST(Tokenizer, UnknownCharactersAreBytesOrOneUnknownPiece) {
  const std::string text = "\xE0\xB9\x84\xE0\xB8\x97\xE0\xB8\xA2";  // three Thai letters
  const auto bytes = Tokenizer(kBytes, 32, true).pieces(text);
  const auto plain = Tokenizer(kBytes, 32, false).pieces(text);
  EXPECT_EQ(bytes.size(), 11U);  // space marker, nine bytes, end
  ASSERT_EQ(plain.size(), 3U);
  EXPECT_EQ(plain[1], 3);
}

TEST_F(TokenizerFolder, FollowsTheFlagOfTokenizerJson) {
  write("spiece.model", read(kBytes));
  EXPECT_TRUE(Tokenizer(folder_, 8).byte_fallback());
  write("tokenizer.json", R"({"added": [{"byte_fallback": true}], "model": {"vocab": [["a", -1.5]],
        "byte_fallback": false}, "other": {"byte_fallback": true}})");
  EXPECT_FALSE(Tokenizer(folder_, 8).byte_fallback());
  EXPECT_TRUE(Tokenizer(folder_, 8, true).byte_fallback());
}

TEST_F(TokenizerFolder, ErrorsNameTheFile) {
  const std::string at = folder_.string();
  EXPECT_EQ(message_of([&] { Tokenizer(folder_, 8); }),
            "[monarch_models] " + at + " holds no spiece.model; download it from google/umt5-xxl");
  write("spiece.model", "this is not a model");
  EXPECT_EQ(
      message_of([&] { Tokenizer(folder_, 8); }),
      "[monarch_io] " + at +
          "/spiece.model is not a sentencepiece model: its message structure is broken or cut off");
  write("spiece.model", "");
  EXPECT_EQ(message_of([&] { Tokenizer(folder_, 8); }),
            "[monarch_io] " + at + "/spiece.model is not a sentencepiece model: it has no pieces");
  write("spiece.model", read(kBytes) + std::string("\x12\x02\x18\x02", 4));  // model_type BPE
  EXPECT_EQ(message_of([&] { Tokenizer(folder_, 8); }),
            "[monarch_io] " + at +
                "/spiece.model is a sentencepiece model of type 2; the text encoder needs a "
                "unigram model (type 1)");
  write("spiece.model",
        read(kBytes) + std::string("\x1a\x07\x12\x05\x04\x00\x00\x00x", 9));  // a tiny trie
  EXPECT_EQ(
      message_of([&] { Tokenizer(folder_, 8); }),
      "[monarch_io] " + at +
          "/spiece.model is damaged: the character map of its normaliser is not a valid trie");
  write("spiece.model",
        read(kBytes) + std::string("\x0a\x08\x0a\x01q\x15\x00\x00\xc0\x7f", 10));  // NaN
  EXPECT_NE(message_of([&] {
              Tokenizer(folder_, 8);
            }).find("is damaged: the score of piece 791 is not finite"),
            std::string::npos);
  write("spiece.model", read(kBytes));
  write("tokenizer.json", "{\"model\": ");
  EXPECT_NE(message_of([&] {
              Tokenizer(folder_, 8);
            }).find("/tokenizer.json is not valid JSON (near byte"),
            std::string::npos);
  EXPECT_EQ(
      message_of([&] { Tokenizer(kUnk, 8, true); }),
      "[monarch_models] " + kUnk.string() +
          " has 0 of the 256 byte pieces that byte fallback needs; set byte_fallback to false");
  EXPECT_EQ(message_of([&] { Tokenizer(kUnk, 0); }),
            "[monarch_models] the tokenizer's seq_len is 0; give a number from 1 to 1000000 (512 "
            "for Wan)");
}

// Damaged files must end in an error or work; never in a crash.
TEST_F(TokenizerFolder, SurvivesDamage) {
  const std::string good = read(kUnk);
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    std::string bad = good;
    if (round % 3 == 0) bad.resize(random() % bad.size());
    for (int k = 0; k < 8 && !bad.empty(); ++k)
      bad[random() % bad.size()] = static_cast<char>(random());
    write("spiece.model", bad);
    try {
      const Tokenizer tokenizer(folder_, 16);
      tokenizer.encode(std::vector<std::string>{"a red fox \xEF\xBC\xA6 caf\xC3\xA9 \xE4\xB8\xAD"});
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("spiece.model"), std::string::npos) << error.what();
    }
  }
}

TEST(Tokenizer, LeavesTorchsFlagsAlone) {
  // Both libraries have a FLAGS_minloglevel of their own size: mixed up, this would abort.
  EXPECT_THROW(at::empty({int64_t{1} << 46}), c10::Error);
}

}  // namespace
}  // namespace monarch::models
