#include <gtest/gtest.h>

#include "monarch/io/zip_reader.h"
#include "monarch/io/zip_writer.h"
#include "tests/io/files.h"
#include "tests/io/zip_files.h"

namespace monarch::io {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void expect_rejected(const std::string& file, ErrorCode code,
                     std::initializer_list<std::string_view> parts) {
  expect_error([&] { ZipReader(bytes_of(file), "x.zip"); }, code, parts);
}

TEST(Zip, ReadsWhatTheWriterWrites) {
  const TemporaryFolder folder;
  AtomicFile file(folder / "x.zip");
  ZipWriter writer(file);
  writer.add("a/one", "hello");
  writer.add("a/empty", "");
  writer.finish();
  file.commit();
  const std::string text = read_raw(folder / "x.zip");
  const ZipReader reader(bytes_of(text), "x.zip");
  ASSERT_EQ(reader.entries().size(), 2U);
  const ZipEntry* one = reader.find("a/one");
  EXPECT_EQ(text_of(one->bytes), "hello");
  EXPECT_EQ((one->bytes.data() - bytes_of(text).data()) % 64, 0);
  reader.check_stored(*one);
  EXPECT_EQ(reader.find("a/two"), nullptr);
}

TEST(Zip, Inflates) {
  const std::string content(100000, 'x');
  const std::string file = zip_file({{"a", content, true}, {"b", "", true}});
  const ZipReader reader(bytes_of(file), "x.zip");
  EXPECT_EQ(text_of(reader.inflate(*reader.find("a"))), content);
  EXPECT_TRUE(reader.inflate(*reader.find("b")).empty());
}

TEST(Zip, AcceptsAComment) {
  std::string file = zip_file({{"a", "1"}});
  file[file.size() - 2] = 3;
  file += "abc";
  EXPECT_EQ(ZipReader(bytes_of(file), "x.zip").entries().size(), 1U);
}

TEST(Zip, RejectsBombs) {
  const std::string content(1000000, '\0');
  expect_rejected(zip_file({{"a", content, true, 4000000000}}), ErrorCode::kCorrupt,
                  {"zip bomb", "claim to inflate to more than 64.0 MB"});
  std::vector<ZipPart> many;
  many.reserve(40);
  for (int i = 0; i < 40; ++i) many.push_back({std::to_string(i), content, true, 2000000});
  expect_rejected(zip_file(many), ErrorCode::kCorrupt, {"zip bomb"});
  // A true size above the claimed one is noticed one byte too late at most.
  const std::string file = zip_file({{"a", content, true, 1000}});
  const ZipReader reader(bytes_of(file), "x.zip");
  expect_error([&] { reader.inflate(*reader.find("a")); }, ErrorCode::kCorrupt,
               {"'a' does not inflate to its 1000 bytes"});
}

TEST(Zip, RejectsDamage) {
  const std::string good = zip_file({{"first", "12345"}, {"second", "67890"}});
  expect_rejected("", ErrorCode::kCorrupt, {"directory at the end", "truncated"});
  expect_rejected(good.substr(0, good.size() - 1), ErrorCode::kCorrupt, {"truncated"});
  expect_rejected(good.substr(0, 40), ErrorCode::kCorrupt, {"truncated"});
  expect_rejected("xx" + good, ErrorCode::kCorrupt, {"x.zip"});

  std::string file = good;
  file[file.find("second", file.find(std::string("PK\1\2")))] = 'S';
  expect_rejected(file, ErrorCode::kCorrupt, {"'Second'", "disagree"});

  file = good;
  file[zip::kLocalHeaderBytes + 5] = 'X';
  const ZipReader reader(bytes_of(file), "x.zip");
  expect_error([&] { reader.check_stored(*reader.find("first")); }, ErrorCode::kCorrupt,
               {"'first' has a wrong checksum"});

  file = good;
  file[6] = 1;  // flags of the first local header
  file[file.find(std::string("PK\1\2")) + 8] = 1;
  expect_rejected(file, ErrorCode::kUnsupported, {"'first' is encrypted"});

  file = good;
  file[file.find(std::string("PK\1\2")) + 10] = 12;
  expect_rejected(file, ErrorCode::kUnsupported, {"compression method 12"});

  expect_rejected(zip_file({{"a", "1"}, {"a", "2"}}), ErrorCode::kCorrupt, {"'a' occurs twice"});
  expect_rejected(zip_file({{"a", "1", false, 4000000000}}), ErrorCode::kCorrupt,
                  {"'a' ends in the middle", "truncated"});
}

TEST(Zip, RejectsOverlaps) {
  // Two directory entries with the header of one: the trick of zip bombs without compression.
  std::string inner = zip_file({{"b", "22"}});
  inner.resize(zip::kLocalHeaderBytes + 3);
  std::string file = zip_file({{"a", inner}, {"b", "22"}});
  const std::size_t second = file.rfind(std::string("PK\1\2"));
  const std::uint32_t into_first = zip::kLocalHeaderBytes + 1;
  std::memcpy(file.data() + second + 42, &into_first, 4);
  expect_rejected(file, ErrorCode::kCorrupt, {"'b' overlaps 'a'"});
}

TEST(Zip, WriterChecksSizes) {
  const TemporaryFolder folder;
  AtomicFile file(folder / "x.zip");
  ZipWriter writer(file);
  writer.begin_entry("a", 3);
  writer.append(bytes_of("12"));
  expect_error([&] { writer.end_entry(); }, ErrorCode::kInvalidArgument,
               {"'a' needs 3 bytes, but 2 were given"});
}

}  // namespace
}  // namespace monarch::io
