#include "monarch/io/sharded.h"

#include <gtest/gtest.h>

#include "monarch/io/safetensors.h"
#include "tests/io/files.h"

namespace monarch::io {
namespace {

void write_one(const std::filesystem::path& path, const std::string& name, float value) {
  const OwnedTensor<float> tensor(name, DType::kF32, {1}, {value});
  write_safetensors(path, {&tensor.entry, 1});
}

TEST(Sharded, MergesInNameOrder) {
  const TemporaryFolder folder;
  write_one(folder / "m-00002-of-00002.safetensors", "b", 2);
  write_one(folder / "m-00001-of-00002.safetensors", "c", 1);
  write_raw(folder / ".m.part.safetensors", "unfinished");
  const auto merged = open_checkpoint(folder.path());
  ASSERT_EQ(merged->tensors().size(), 2U);
  EXPECT_EQ(merged->tensors()[0].name, "c");
  EXPECT_EQ(to_doubles(*merged->find("b")), std::vector<double>{2});
}

TEST(Sharded, FollowsTheIndex) {
  const TemporaryFolder folder;
  write_one(folder / "m-1.safetensors", "a", 1);
  write_one(folder / "m-2.safetensors", "b", 2);
  write_one(folder / "other.safetensors", "a", 3);
  write_raw(folder / "m.safetensors.index.json",
            R"({"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})");
  const auto merged = open_checkpoint(folder.path());
  ASSERT_EQ(merged->tensors().size(), 2U);
  EXPECT_EQ(to_doubles(*merged->find("a")), std::vector<double>{1});
}

TEST(Sharded, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  const auto open = [&] { open_checkpoint(folder.path()); };
  const auto index = folder / "m.safetensors.index.json";
  expect_error(open, ErrorCode::kNotFound, {"has no file *.safetensors"});
  write_one(folder / "m-1.safetensors", "a", 1);
  write_raw(
      index,
      R"({"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors","c":"m-3.safetensors"}})");
  expect_error(open, ErrorCode::kNotFound,
               {"lacks these files", "m-2.safetensors, m-3.safetensors"});
  write_raw(index, R"({"weight_map":{"a":"m-1.safetensors","b":"m-1.safetensors"}})");
  expect_error(open, ErrorCode::kCorrupt, {"tensor 'b' is in m-1.safetensors, but it is not"});
  write_raw(index, R"({"weight_map":{"a":"../m-1.safetensors"}})");
  expect_error(open, ErrorCode::kCorrupt, {"in the same folder was expected"});
  write_raw(index, R"({"weight_map":{"a":7}})");
  expect_error(open, ErrorCode::kCorrupt, {"'a' is said to be in '7'"});
  write_raw(index, "[");
  expect_error(open, ErrorCode::kCorrupt, {"is not an index"});
  std::filesystem::remove(index);
  write_one(folder / "m-2.safetensors", "a", 1);
  expect_error(open, ErrorCode::kCorrupt, {"tensor 'a' occurs twice"});
}

}  // namespace
}  // namespace monarch::io
