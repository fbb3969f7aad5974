#include "monarch/io/safetensors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "tests/io/files.h"

namespace monarch::io {
namespace {

// The error of opening a file with this header and `data_bytes` zero bytes.
void expect_rejected(std::string_view header, std::size_t data_bytes, ErrorCode code,
                     std::initializer_list<std::string_view> parts) {
  const std::string file = safetensors_file(header, std::string(data_bytes, '\0'));
  expect_error([&] { parse_safetensors(std::as_bytes(std::span(file)), "bad.safetensors"); }, code,
               parts);
}

TEST(Safetensors, RoundTrip) {
  const TemporaryFolder folder;
  const OwnedTensor<float> a("a", DType::kF32, {2, 3}, {1, 2, 3, 4, 5, 6});
  const OwnedTensor<std::uint16_t> b("b", DType::kBF16, {3}, {0x3F80, 0x4000, 0x4040});
  const OwnedTensor<std::int64_t> scalar("scalar", DType::kI64, {}, {-7});
  const OwnedTensor<float> empty("empty", DType::kF32, {0, 4}, {});
  const std::vector<TensorEntry> entries = {b.entry, a.entry, scalar.entry, empty.entry};
  write_safetensors(folder / "x.safetensors", entries, {{"format", "pt"}, {"note", "ünï \"q\""}});
  EXPECT_EQ(folder.num_files(), 1U);

  const auto file = open_safetensors(folder / "x.safetensors");
  ASSERT_EQ(file->tensors().size(), 4U);
  EXPECT_EQ(file->metadata().at("note"), "ünï \"q\"");
  EXPECT_EQ(file->find("missing"), nullptr);
  EXPECT_EQ(to_doubles(*file->find("a")), (std::vector<double>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(to_doubles(*file->find("b")), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(to_int64s(*file->find("scalar")), (std::vector<std::int64_t>{-7}));
  EXPECT_EQ(file->find("empty")->shape, (std::vector<std::int64_t>{0, 4}));
  for (const TensorEntry& tensor : file->tensors()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % dtype_size(tensor.dtype), 0U);
  }
  // The same content in another order gives the same bytes.
  const std::vector<TensorEntry> other = {a.entry, empty.entry, b.entry, scalar.entry};
  write_safetensors(folder / "y.safetensors", other, {{"note", "ünï \"q\""}, {"format", "pt"}});
  EXPECT_EQ(read_raw(folder / "x.safetensors"), read_raw(folder / "y.safetensors"));
}

TEST(Safetensors, AcceptsSpacesAfterTheHeaderAndAnEmptyFile) {
  const std::string file = safetensors_file("{}      ", "");
  EXPECT_TRUE(parse_safetensors(std::as_bytes(std::span(file)), "x")->tensors().empty());
}

TEST(Safetensors, RejectsBadLengths) {
  const auto parse = [](std::string_view bytes) {
    parse_safetensors(std::as_bytes(std::span(bytes)), "x");
  };
  expect_error([&] { parse(""); }, ErrorCode::kCorrupt, {"x has 0 bytes", "too short"});
  expect_error([&] { parse("1234567"); }, ErrorCode::kCorrupt, {"7 bytes", "too short"});
  const std::string four_gigabytes("\0\0\0\0\1\0\0\0{}", 10);
  expect_error([&] { parse(four_gigabytes); }, ErrorCode::kCorrupt,
               {"claims 4294967296 bytes", "at most 100000000"});
  const std::string truncated("\x10\0\0\0\0\0\0\0{}", 10);
  expect_error([&] { parse(truncated); }, ErrorCode::kCorrupt,
               {"claims 16 bytes, but only 2 follow", "truncated"});
}

TEST(Safetensors, RejectsBadHeaders) {
  expect_rejected("[]", 0, ErrorCode::kCorrupt, {"does not start with '{'"});
  expect_rejected(" {}", 0, ErrorCode::kCorrupt, {"does not start with '{'"});
  expect_rejected("{", 0, ErrorCode::kCorrupt, {"not valid JSON"});
  expect_rejected("{}x", 0, ErrorCode::kCorrupt, {"not valid JSON"});
  expect_rejected("{\"\xff\":{}}", 0, ErrorCode::kCorrupt, {"not valid JSON in UTF-8"});
  expect_rejected(R"({"a":3})", 0, ErrorCode::kCorrupt, {"the header has a number"});
  expect_rejected(R"({"a":{}})", 0, ErrorCode::kCorrupt, {"'a' must have dtype, shape"});
  expect_rejected(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0]}})", 4, ErrorCode::kCorrupt,
                  {"two data_offsets"});
  expect_rejected(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4,8]}})", 4,
                  ErrorCode::kCorrupt, {"data_offsets must be two numbers"});
  expect_rejected(R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4,
                  ErrorCode::kCorrupt, {"'a' has a list where a whole number"});
  expect_rejected(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4,
                  ErrorCode::kCorrupt, {"unknown key 'x'"});
  expect_rejected(R"({"a":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}})", 8,
                  ErrorCode::kUnsupported, {"tensor 'a' has the dtype 'U64'"});
  expect_rejected(R"({"a":{"dtype":"float32","shape":[1],"data_offsets":[0,4]}})", 4,
                  ErrorCode::kUnsupported, {"'float32'"});
  expect_rejected(R"({"__metadata__":{"a":1}})", 0, ErrorCode::kCorrupt,
                  {"__metadata__ has a number where a string"});
  expect_rejected(R"({"__metadata__":{"a":"1","a":"2"}})", 0, ErrorCode::kCorrupt,
                  {"__metadata__: the key 'a' occurs twice"});
}

TEST(Safetensors, RejectsDuplicateKeys) {
  expect_rejected(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      8, ErrorCode::kCorrupt, {"'a' occurs twice in the header"});
  expect_rejected(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4,
                  ErrorCode::kCorrupt, {"tensor 'a': the key 'dtype' occurs twice"});
}

TEST(Safetensors, RejectsBadOffsetsAndShapes) {
  expect_rejected(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
                  ErrorCode::kCorrupt, {"F32 [2] needs 8 bytes", "span 4"});
  expect_rejected(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4,
                  ErrorCode::kCorrupt, {"run backwards"});
  expect_rejected(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4,
                  ErrorCode::kCorrupt, {"negative number -1"});
  expect_rejected(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4,
                  ErrorCode::kCorrupt, {"a fraction"});
  expect_rejected(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,99999999999999999999999]}})",
                  4, ErrorCode::kCorrupt, {"a fraction"});
  expect_rejected(R"({"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}})", 4,
                  ErrorCode::kCorrupt, {"overflows 64 bits"});
  expect_rejected(R"({"a":{"dtype":"F32","shape":[0,4611686018427387904,8],"data_offsets":[0,0]}})",
                  0, ErrorCode::kCorrupt, {"overflows 64 bits"});
  expect_rejected(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})", 4,
                  ErrorCode::kCorrupt, {"'a' ends at byte 8", "only 4"});
  expect_rejected(
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
      6, ErrorCode::kCorrupt, {"tensor 'b' overlaps tensor 'a'"});
  expect_rejected(
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}})",
      10, ErrorCode::kCorrupt, {"2 unused bytes between tensor 'a' and tensor 'b'"});
  expect_rejected(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 5,
                  ErrorCode::kCorrupt, {"1 unused bytes after tensor 'a'"});
  expect_rejected(
      R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[18446744073709551615,18446744073709551615]}})",
      0, ErrorCode::kCorrupt, {"ends at byte 18446744073709551615"});
}

TEST(Safetensors, MessagesShowHostileNamesOnOneLine) {
  expect_rejected(R"({"a\n\u001b[2J":3})", 0, ErrorCode::kCorrupt, {"the header has a number"});
  expect_rejected(R"({"a\n\u001b[2J":{}})", 0, ErrorCode::kCorrupt, {R"('a\x0a\x1b[2J')"});
}

TEST(Safetensors, WriterRejectsBadEntries) {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  const OwnedTensor<float> a("a", DType::kF32, {2}, {1, 2});
  const OwnedTensor<float> wrong("b", DType::kF32, {3}, {1, 2});
  const OwnedTensor<float> reserved("__metadata__", DType::kF32, {1}, {1});
  const auto write = [&](std::vector<TensorEntry> entries) { write_safetensors(path, entries); };
  expect_error(
      [&] {
        write({a.entry, a.entry});
      },
      ErrorCode::kInvalidArgument, {"two tensors are named 'a'"});
  expect_error(
      [&] {
        write({a.entry, wrong.entry});
      },
      ErrorCode::kInvalidArgument, {"'b' F32 [3] needs 12 bytes, but 8 were given"});
  expect_error([&] { write({reserved.entry}); }, ErrorCode::kInvalidArgument, {"__metadata__"});
  EXPECT_EQ(folder.num_files(), 0U);
}

TEST(Safetensors, FailedWriteKeepsWhatWasThere) {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  write_raw(path, "before");
  const OwnedTensor<float> a("a", DType::kF32, {4096}, std::vector<float>(4096));
  const std::vector<TensorEntry> entries = {a.entry};
  // A file size limit fails in the middle of the data, as a full disk does.
  struct rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 1000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_error([&] { write_safetensors(path, entries); }, ErrorCode::kIo,
               {"cannot write", "x.safetensors", "File too large"});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_raw(path), "before");
  EXPECT_EQ(folder.num_files(), 1U);
}

TEST(Safetensors, WriterNamesTheFolder) {
  const TemporaryFolder folder;
  expect_error([&] { write_safetensors(folder / "no/x.safetensors", {}); }, ErrorCode::kIo,
               {"there is no folder", "/no"});
  expect_error([&] { write_safetensors(folder.path(), {}); }, ErrorCode::kIo, {"it is a folder"});
  expect_error([&] { write_safetensors("/dev/null", {}); }, ErrorCode::kIo, {"not a regular file"});
}

TEST(OpenCheckpoint, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  write_raw(folder / "empty.safetensors", "");
  expect_error([&] { open_checkpoint(folder / "none.safetensors"); }, ErrorCode::kNotFound,
               {"there is no file", "none.safetensors"});
  expect_error([&] { open_checkpoint(folder / "empty.safetensors"); }, ErrorCode::kCorrupt,
               {"empty.safetensors is empty"});
}

}  // namespace
}  // namespace monarch::io
