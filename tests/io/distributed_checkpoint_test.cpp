#include "monarch/io/distributed_checkpoint.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/io/files.h"
#include "tests/support/message_of.h"

namespace monarch::io {
namespace {

namespace fs = std::filesystem;

const fs::path kSample = fs::path(MONARCH_SOURCE_DIR) / "tests/fixtures/training/checkpoint_sample";

// A copy that tests may damage.
fs::path copy_to(const TemporaryFolder& folder) {
  fs::path copy = folder.path() / "copy";
  fs::copy(kSample / "checkpoint_model_000050", copy);
  for (const auto& entry : fs::directory_iterator(copy))
    fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
  return copy;
}

TEST(DistributedCheckpoint, EqualsItsConversion) {
  const auto sharded = open_checkpoint(kSample / "checkpoint_model_000050");
  const auto converted = open_checkpoint(kSample / "model.pt");
  ASSERT_EQ(sharded->tensors().size(), converted->tensors().size());
  ASSERT_FALSE(sharded->tensors().empty());
  for (const TensorEntry& tensor : converted->tensors()) {
    const TensorEntry* found = sharded->find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
    EXPECT_EQ(to_doubles(*found), to_doubles(tensor)) << tensor.name;
  }
}

TEST(DistributedCheckpoint, SaysWhatIsMissingOrCut) {
  const TemporaryFolder folder;
  const fs::path copy = copy_to(folder);
  fs::resize_file(copy / "__1_0.distcp", 10'000);
  EXPECT_NE(message_of([&] { open_distributed(copy); }).find("it was copied in part"),
            std::string::npos);
  fs::remove(copy / "__1_0.distcp");
  EXPECT_NE(message_of([&] { open_distributed(copy); }).find("__1_0.distcp"), std::string::npos);
}

// The metadata runs nothing and leaves the folder for nothing; damaged anywhere it is an error, or
// still says the same.
TEST(DistributedCheckpoint, DamagedMetadataIsAnError) {
  const TemporaryFolder folder;
  const fs::path copy = copy_to(folder);
  std::ifstream in(copy / ".metadata", std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  int refused = 0;
  for (std::size_t at = 0; at < good.size(); at += 13) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x55);
    std::ofstream(copy / ".metadata", std::ios::binary) << bad;
    refused += message_of([&] { open_distributed(copy); }) == "no error" ? 0 : 1;
  }
  EXPECT_GT(refused, 50);
  std::string elsewhere = good;
  const std::size_t name = elsewhere.find("__0_0.distcp");
  elsewhere.replace(name, 12, "../00.distcp");
  std::ofstream(copy / ".metadata", std::ios::binary) << elsewhere;
  EXPECT_NE(message_of([&] { open_distributed(copy); }).find("outside of it"), std::string::npos);
}

}  // namespace
}  // namespace monarch::io
