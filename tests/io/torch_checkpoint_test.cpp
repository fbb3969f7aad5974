#include "monarch/io/torch_checkpoint.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/io/files.h"
#include "tests/io/zip_files.h"

namespace monarch::io {
namespace {

using namespace std::string_literals;

std::string pickled_string(std::string_view text) {
  std::string out = "X";
  append_number(out, std::uint32_t(text.size()));
  return out.append(text);
}

std::string pickled_tuple(const std::vector<std::int32_t>& values) {
  std::string out = "(";
  for (const std::int32_t value : values) {
    out += 'J';
    append_number(out, value);
  }
  return out + "t";
}

struct TensorText {
  std::string key = "0";
  std::int32_t num_elements = 6;
  std::int32_t offset = 0;
  std::vector<std::int32_t> shape = {2, 3};
  std::vector<std::int32_t> strides = {3, 1};
  std::string type = "FloatStorage";
};

std::string pickled(const TensorText& tensor) {
  std::string out = "ctorch._utils\n_rebuild_tensor_v2\n((" + pickled_string("storage") +
                    "ctorch\n" + tensor.type + "\n" + pickled_string(tensor.key) +
                    pickled_string("cpu") + "J";
  append_number(out, tensor.num_elements);
  out += "tQJ";
  append_number(out, tensor.offset);
  return out + pickled_tuple(tensor.shape) + pickled_tuple(tensor.strides) +
         "\x89"
         "ccollections\nOrderedDict\n)RtR";
}

std::string pickled_dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string out = "}(";
  for (const auto& [key, value] : items) out += pickled_string(key) + value;
  return out + "u";
}

std::string floats(std::vector<float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::string torch_file(const std::string& body, bool deflate = false) {
  return zip_file({{"m/data.pkl", "\x80\2" + body + ".", deflate},
                   {"m/byteorder", "little", deflate},
                   {"m/data/0", floats({0, 1, 2, 3, 4, 5}), deflate}});
}

std::shared_ptr<const Checkpoint> parse(const std::string& file) {
  return parse_torch(std::as_bytes(std::span(file)), "m.pt");
}

void expect_rejected(const std::string& file, ErrorCode code,
                     std::initializer_list<std::string_view> parts) {
  expect_error([&] { parse(file); }, code, parts);
}

TEST(TorchCheckpoint, ReadsAFileOfTorch) {
  const auto path =
      std::filesystem::path(MONARCH_SOURCE_DIR) / "tests" / "fixtures" / "io" / "model.pt";
  const auto file = open_checkpoint(path);
  ASSERT_EQ(file->tensors().size(), 15U);
  const TensorEntry* tensor = file->find("generator.model.patch_embedding.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->shape, (std::vector<std::int64_t>{6, 4, 1, 2, 2}));
  EXPECT_NEAR(to_doubles(*tensor)[0], -0.504309, 1e-5);
  EXPECT_EQ(file->metadata().at("groups"), R"(["generator","critic","generator_ema"])");
  file->check_integrity();
}

TEST(TorchCheckpoint, RoundTrip) {
  const TemporaryFolder folder;
  const OwnedTensor<float> a("gen.model.a", DType::kF32, {2, 3}, {1, 2, 3, 4, 5, 6});
  const OwnedTensor<std::uint16_t> b("gen.b", DType::kBF16, {2}, {0x3F80, 0x4000});
  const OwnedTensor<std::int64_t> c("c", DType::kI64, {}, {-7});
  const OwnedTensor<float> empty("empty", DType::kF32, {0, 3}, {});
  const std::vector<TensorEntry> entries = {a.entry, b.entry, c.entry, empty.entry};
  const std::vector<std::string> groups = {"gen"};
  write_torch(folder / "x.pt", entries, groups);
  EXPECT_EQ(folder.num_files(), 1U);
  const auto file = open_checkpoint(folder / "x.pt");
  ASSERT_EQ(file->tensors().size(), 4U);
  EXPECT_EQ(to_doubles(*file->find("gen.model.a")), (std::vector<double>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(to_doubles(*file->find("gen.b")), (std::vector<double>{1, 2}));
  EXPECT_EQ(to_int64s(*file->find("c")), (std::vector<std::int64_t>{-7}));
  EXPECT_EQ(file->find("empty")->shape, (std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(file->metadata().at("groups"), R"(["gen"])");
  for (const TensorEntry& tensor : file->tensors()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % dtype_size(tensor.dtype), 0U);
  }
  file->check_integrity();
}

TEST(TorchCheckpoint, WriterRejectsWhatTorchCannotHold) {
  const TemporaryFolder folder;
  const OwnedTensor<std::uint8_t> small("a", DType::kF8E4M3, {1}, {0});
  const OwnedTensor<float> wrong("a", DType::kF32, {3}, {0});
  const auto write = [&](std::vector<TensorEntry> entries) {
    write_torch(folder / "x.pt", entries);
  };
  expect_error([&] { write({small.entry}); }, ErrorCode::kUnsupported, {"F8_E4M3", "safetensors"});
  expect_error([&] { write({wrong.entry}); }, ErrorCode::kInvalidArgument,
               {"needs 12 bytes, but 4 were given"});
  expect_error(
      [&] {
        write({wrong.entry, wrong.entry});
      },
      ErrorCode::kInvalidArgument, {"names two tensors"});
  EXPECT_EQ(folder.num_files(), 0U);
}

TEST(TorchCheckpoint, StridesSharingAndValues) {
  TensorText transposed, row, column;
  transposed.shape = {3, 2};
  transposed.strides = {1, 3};
  row.shape = {3};
  row.strides = {1};
  row.offset = 3;
  column.shape = {2, 1};
  column.strides = {3, 9};
  column.offset = 2;
  const std::string body =
      pickled_dict({{"all", pickled({})},
                    {"nested", pickled_dict({{"t", pickled(transposed)}, {"row", pickled(row)}})},
                    {"column", pickled(column)},
                    {"step", "K\x0c"},
                    {"list", "](K\1" + pickled_string("two") + "e"}});
  for (const bool deflate : {false, true}) {
    const std::string bytes = torch_file(body, deflate);
    const auto file = parse(bytes);
    EXPECT_EQ(to_doubles(*file->find("all")), (std::vector<double>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(to_doubles(*file->find("nested.t")), (std::vector<double>{0, 3, 1, 4, 2, 5}));
    EXPECT_EQ(to_doubles(*file->find("nested.row")), (std::vector<double>{3, 4, 5}));
    EXPECT_EQ(to_doubles(*file->find("column")), (std::vector<double>{2, 5}));
    // Contiguous views share the storage's bytes.
    EXPECT_EQ(file->find("nested.row")->bytes.data(), file->find("all")->bytes.data() + 12);
    EXPECT_EQ(file->metadata().at("values"), R"({"list.0":1,"list.1":"two","step":12})");
  }
}

TEST(TorchCheckpoint, RejectsViewsOutsideTheirStorage) {
  const auto expect_outside = [](const TensorText& tensor) {
    expect_rejected(torch_file(pickled_dict({{"w", pickled(tensor)}})), ErrorCode::kCorrupt,
                    {"tensor 'w'", "storage of 6 elements"});
  };
  TensorText tensor;
  tensor.shape = {2, 4};
  expect_outside(tensor);
  tensor = {};
  tensor.offset = 1;
  expect_outside(tensor);
  tensor.offset = -1;
  expect_outside(tensor);
  tensor = {};
  tensor.strides = {-3, 1};
  expect_outside(tensor);
  tensor = {};
  tensor.shape = {-2, 3};
  expect_outside(tensor);
  tensor = {};
  tensor.shape = {2147483647, 2147483647, 2147483647};
  tensor.strides = {0, 0, 0};
  expect_outside(tensor);
  tensor.shape = {0, 2147483647, 2147483647, 2147483647};
  tensor.strides = {0, 0, 0, 0};
  expect_outside(tensor);
}

TEST(TorchCheckpoint, RejectsHostileContent) {
  const auto dict = [](const TensorText& tensor) {
    return torch_file(pickled_dict({{"w", pickled(tensor)}}));
  };
  expect_rejected(torch_file("cposix\nsystem\n" + pickled_string("true") + "\x85R"),
                  ErrorCode::kUnsupported, {"m.pt: m/data.pkl refuses posix.system"});
  TensorText tensor;
  tensor.num_elements = 7;
  expect_rejected(dict(tensor), ErrorCode::kCorrupt,
                  {"7 F32 elements does not fit into a record of 24 bytes"});
  tensor = {};
  tensor.key = "../x";
  expect_rejected(dict(tensor), ErrorCode::kCorrupt, {"needs the record data/../x"});
  tensor = {};
  tensor.type = "ComplexFloatStorage";
  expect_rejected(dict(tensor), ErrorCode::kUnsupported, {"refuses torch.ComplexFloatStorage"});
  tensor = {};
  tensor.shape = {2000000, 500};
  tensor.strides = {0, 0};
  expect_rejected(dict(tensor), ErrorCode::kUnsupported,
                  {"strides [0, 0] is not contiguous and too large to copy"});
  expect_rejected(torch_file(pickled_dict({{"a", pickled({})}, {"a", pickled({})}})),
                  ErrorCode::kCorrupt, {"'a' occurs twice"});
  expect_rejected(torch_file(pickled_dict({{"a", "K\1"}, {"a", "K\2"}})), ErrorCode::kCorrupt,
                  {"'a' occurs twice"});
  expect_rejected(torch_file("}NNs"), ErrorCode::kUnsupported, {"neither a string nor an integer"});
}

TEST(TorchCheckpoint, BoundsRecursionAndReferences) {
  // A list that holds itself, and lists of ten references to the list before: 10^20 leaves.
  expect_rejected(torch_file("]q\1h\1a"s), ErrorCode::kCorrupt, {"nested deeper than 64"});
  std::string body = "]q\1";
  for (int i = 0; i < 20; ++i) body += "](h\1h\1h\1h\1h\1h\1h\1h\1h\1h\1eq\1";
  // Each list takes the place of the one before in the memo; all stay reachable from the last.
  std::string lists = "](";
  lists += body + "e";
  expect_rejected(torch_file(lists), ErrorCode::kCorrupt, {"describes more than 1000000"});
}

TEST(TorchCheckpoint, RejectsOtherArchives) {
  expect_rejected(zip_file({{"readme.txt", "hello"}}), ErrorCode::kUnsupported,
                  {"not one of torch.save"});
  expect_rejected(zip_file({{"a/data.pkl", "\x80\2N."}, {"b/data.pkl", "\x80\2N."}}),
                  ErrorCode::kCorrupt, {"two records data.pkl"});
  expect_rejected(zip_file({{"a/data.pkl", "\x80\2N."}, {"a/constants.pkl", ""}}),
                  ErrorCode::kUnsupported, {"TorchScript"});
  expect_rejected(zip_file({{"a/data.pkl", "\x80\2N."}, {"a/byteorder", "big"}}),
                  ErrorCode::kUnsupported, {"byte order 'big'"});
}

TEST(OpenCheckpoint, ExplainsForeignFiles) {
  const TemporaryFolder folder;
  const auto expect_text = [&](const std::string& content, ErrorCode code, std::string_view text) {
    write_raw(folder / "x.pt", content);
    expect_error([&] { open_checkpoint(folder / "x.pt"); }, code, {"x.pt", text});
  };
  expect_text(
      "\x80\2\x8a\nl\xfc\x9c"
      "F\xf9 j\xa8P\x19.\x80\2M\xe9\3.",
      ErrorCode::kUnsupported, "before version 1.6");
  expect_text("\x80\4\x95\1\0\0\0\0\0\0\0N."s, ErrorCode::kUnsupported, "bare Python pickle");
  expect_text("version https://git-lfs.github.com/spec/v1\noid", ErrorCode::kCorrupt,
              "Git LFS pointer");
  expect_text("<!DOCTYPE html><html>", ErrorCode::kCorrupt, "web page");
  expect_text("GGUF\3\0\0\0"s, ErrorCode::kUnsupported, "GGUF");
  expect_text("PK\3\4 rest is missing", ErrorCode::kCorrupt, "truncated");
}

}  // namespace
}  // namespace monarch::io
