#include "monarch/io/event_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "tests/io/files.h"

namespace monarch::io {
namespace {

TEST(EventFile, HasCastagnolisChecksum) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);  // RFC 3720
}

// A file of two records, taken apart by the format's description.
TEST(EventFile, HoldsScalarsOfAStep) {
  const TemporaryFolder folder;
  const std::pair<std::string, double> scalars[] = {{"loss", 0.5}, {"norm", 2.0}};
  EventFile file(folder.path());
  file.write(300, scalars);
  std::ifstream in(file.path(), std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::vector<std::string> records;
  for (std::size_t at = 0; at < bytes.size();) {
    std::uint64_t size = 0;
    std::memcpy(&size, &bytes[at], 8);
    ASSERT_LE(at + size + 16, bytes.size());
    const std::string record = bytes.substr(at + 12, size);
    std::uint32_t checksum = 0;
    std::memcpy(&checksum, &bytes[at + 12 + size], 4);
    const std::uint32_t rotated = checksum - 0xa282ead8U;
    EXPECT_EQ((rotated >> 17) | (rotated << 15), crc32c(record));
    records.push_back(record);
    at += size + 16;
  }
  ASSERT_EQ(records.size(), 2U);
  EXPECT_NE(records[0].find("brain.Event:2"), std::string::npos);
  using namespace std::string_literals;
  // After the time: step 300, then the summary with two values of 11 bytes.
  EXPECT_EQ(records[1].substr(9),
            "\x10\xac\x02\x2a\x1a"
            "\x0a\x0b\x0a\x04loss\x15\x00\x00\x00\x3f"
            "\x0a\x0b\x0a\x04norm\x15\x00\x00\x00\x40"s);
}

}  // namespace
}  // namespace monarch::io
