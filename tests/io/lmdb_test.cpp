#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>

#include "monarch/base/error.h"
#include "monarch/io/lmdb.h"
#include "tests/io/files.h"
#include "tests/support/message_of.h"

namespace monarch::io {
namespace {

namespace fs = std::filesystem;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::map<std::string, std::string> records(int count) {
  std::map<std::string, std::string> all;
  for (int i = 0; i < count; ++i) {
    // Around the size from which a value gets pages of its own, and whole pages.
    const std::size_t sizes[] = {0, 1, 100, 2020, 2030, 2040, 4080, 4096, 10'000};
    all["key_" + std::to_string(i)] = std::string(sizes[i % 9], static_cast<char>('a' + i % 26));
  }
  return all;
}

fs::path write(const fs::path& file, const std::map<std::string, std::string>& all) {
  LmdbWriter writer(file);
  // Backwards: keys may come in any order.
  for (auto it = all.rbegin(); it != all.rend(); ++it) writer.put(it->first, it->second);
  writer.finish();
  return file;
}

// One page, several leaves, several levels.
TEST(Lmdb, ReadsWhatItWrote) {
  const TemporaryFolder folder;
  for (const int count : {0, 1, 2, 50, 3000}) {
    const auto all = records(count);
    const LmdbFile file(write(folder.path() / "data.mdb", all));
    EXPECT_EQ(file.num_entries(), all.size());
    for (const auto& [key, value] : all) ASSERT_EQ(text_of(file.at(key)), value) << key;
    for (const char* absent : {"", "a", "key_", "key_00", "zzz"})
      EXPECT_FALSE(file.find(absent).has_value()) << absent;
  }
}

TEST(Lmdb, AFolderMeansItsDataFile) {
  const TemporaryFolder folder;
  write(folder.path() / "data.mdb", {{"a", "1"}});
  EXPECT_EQ(LmdbFile(folder.path()).text("a"), "1");
  EXPECT_NE(message_of([&] { LmdbFile(folder.path()).at("b"); }).find("has no record 'b'"),
            std::string::npos);
}

TEST(Lmdb, RefusesAKeyTwice) {
  const TemporaryFolder folder;
  LmdbWriter writer(folder.path() / "data.mdb");
  writer.put("a", "1");
  writer.put("a", "2");
  EXPECT_EQ(message_of([&] { writer.finish(); }),
            "[monarch_io] the LMDB key 'a' was written twice");
}

TEST(Lmdb, AnUnfinishedFileDoesNotAppear) {
  const TemporaryFolder folder;
  { LmdbWriter(folder.path() / "data.mdb").put("a", "1"); }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

// Cut anywhere: every record is right or an error.
TEST(Lmdb, AHalfCopiedFileIsAnError) {
  const TemporaryFolder folder;
  const auto all = records(200);
  const fs::path file = write(folder.path() / "data.mdb", all);
  const auto size = static_cast<std::uint64_t>(fs::file_size(file));
  int refused = 0;
  for (std::uint64_t cut = 0; cut < size; cut += size / 37 + 1) {
    const fs::path half = folder.path() / "half.mdb";
    fs::copy_file(file, half, fs::copy_options::overwrite_existing);
    fs::resize_file(half, cut);
    for (const auto& [key, value] : all) {
      try {
        ASSERT_EQ(text_of(LmdbFile(half).at(key)), value);
      } catch (const Error& error) {
        ASSERT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kIo)
            << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 0);
}

// Bytes changed anywhere outside of values: right, absent, wrong or an error, but no crash.
TEST(Lmdb, DamagedPagesDoNotCrash) {
  const TemporaryFolder folder;
  const auto all = records(60);
  const fs::path file = write(folder.path() / "data.mdb", all);
  std::ifstream in(file, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::uint32_t random = 1;
  for (int round = 0; round < 300; ++round) {
    std::string damaged = bytes;
    for (int i = 0; i < 8; ++i) {
      random = random * 1664525 + 1013904223;
      // Pages at the end are those of the tree, pages at the start the meta pages.
      const std::size_t tree = bytes.size() - 4 * 4096;
      const std::size_t at = i % 2 == 0 ? (random >> 8) % 300 : tree + (random >> 8) % (4 * 4096);
      damaged[at] = static_cast<char>(random >> 3);
    }
    const fs::path other = folder.path() / "damaged.mdb";
    std::ofstream(other, std::ios::binary) << damaged;
    for (const auto& record : all) message_of([&] { LmdbFile(other).find(record.first); });
  }
}

}  // namespace
}  // namespace monarch::io
