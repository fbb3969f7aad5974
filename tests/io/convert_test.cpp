#include "monarch/io/convert.h"

#include <gtest/gtest.h>

#include "monarch/io/safetensors.h"
#include "monarch/io/sha256.h"
#include "monarch/io/torch_checkpoint.h"
#include "tests/io/files.h"

namespace monarch::io {
namespace {

TEST(Convert, TorchToSafetensorsAndBack) {
  const TemporaryFolder folder;
  const auto path =
      std::filesystem::path(MONARCH_SOURCE_DIR) / "tests" / "fixtures" / "io" / "model.pt";
  const auto first = open_checkpoint(path);
  convert_checkpoint(*first, folder / "x.safetensors");
  convert_checkpoint(*open_checkpoint(folder / "x.safetensors"), folder / "y.pth");
  const auto back = open_checkpoint(folder / "y.pth");
  EXPECT_EQ(back->metadata().at("groups"), first->metadata().at("groups"));
  ASSERT_EQ(back->tensors().size(), first->tensors().size());
  for (const TensorEntry& tensor : first->tensors()) {
    EXPECT_EQ(to_doubles(*back->find(tensor.name)), to_doubles(tensor));
    EXPECT_EQ(back->find(tensor.name)->shape, tensor.shape);
  }
}

TEST(Convert, ChangesFloatingTypesAndNames) {
  const TemporaryFolder folder;
  const OwnedTensor<float> a("model.a", DType::kF32, {3}, {1, -2.5F, 1.00390625F});
  const OwnedTensor<std::int64_t> i("i", DType::kI64, {1}, {9});
  const OwnedTensor<float> drop("drop", DType::kF32, {1}, {1});
  const std::vector<TensorEntry> entries = {a.entry, i.entry, drop.entry};
  write_safetensors(folder / "x.safetensors", entries);
  ConvertOptions options;
  options.dtype = DType::kBF16;
  options.rename = {{"model.a", "a"}, {"drop", ""}};
  convert_checkpoint(*open_checkpoint(folder / "x.safetensors"), folder / "y.safetensors", options);
  const auto file = open_checkpoint(folder / "y.safetensors");
  ASSERT_EQ(file->tensors().size(), 2U);
  EXPECT_EQ(file->find("a")->dtype, DType::kBF16);
  // 1 + 2^-8 lies in the middle and goes to the even neighbour.
  EXPECT_EQ(to_doubles(*file->find("a")), (std::vector<double>{1, -2.5, 1}));
  EXPECT_EQ(file->find("i")->dtype, DType::kI64);
}

TEST(Convert, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const OwnedTensor<float> large("w", DType::kF32, {2}, {1, 70000});
  write_safetensors(folder / "x.safetensors", {&large.entry, 1});
  const auto file = open_checkpoint(folder / "x.safetensors");
  expect_error(
      [&] {
        convert_checkpoint(*file, folder / "y.safetensors", {DType::kF16, {}});
      },
      ErrorCode::kInvalidArgument, {"tensor 'w' holds 70000, which F16 cannot"});
  expect_error(
      [&] {
        convert_checkpoint(*file, folder / "y.safetensors", {DType::kI8, {}});
      },
      ErrorCode::kInvalidArgument, {"cannot convert to I8"});
  expect_error([&] { convert_checkpoint(*file, folder / "y.bin"); }, ErrorCode::kInvalidArgument,
               {"y.bin", ".safetensors, .pt or .pth"});
  EXPECT_EQ(folder.num_files(), 1U);
}

TEST(Sha256, KnownValues) {
  const auto hash = [](const std::string& text) { return sha256(std::as_bytes(std::span(text))); };
  EXPECT_EQ(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  // Every length of the tail gives what piecewise hashing gives.
  for (std::size_t length = 0; length < 130; ++length) {
    const std::string text(length, 'x');
    Sha256 pieces;
    for (const char& c : text) pieces.update(std::as_bytes(std::span(&c, 1)));
    EXPECT_EQ(pieces.hex(), hash(text)) << length;
  }
}

}  // namespace
}  // namespace monarch::io
