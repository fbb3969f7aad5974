#include "monarch/io/live_video.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/io/image.h"
#include "monarch/io/video.h"
#include "tests/io/files.h"

namespace monarch::io {
namespace {

constexpr LiveVideoFormat kFormat{.width = 64, .height = 48, .fps = 16};

std::vector<std::uint8_t> plain(std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  std::vector<std::uint8_t> rgb;
  for (int i = 0; i < 64 * 48; ++i) rgb.insert(rgb.end(), {red, green, blue});
  return rgb;
}

// Types of the boxes at the top level.
std::vector<std::string> boxes(const std::string& bytes) {
  std::vector<std::string> types;
  for (std::size_t at = 0; at + 8 <= bytes.size();) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4; ++i)
      size = size << 8 | static_cast<unsigned char>(bytes[at + i]);
    types.push_back(bytes.substr(at + 4, 4));
    if (size < 8) break;
    at += size;
  }
  return types;
}

class LiveVideoTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_ffmpeg()) GTEST_SKIP() << "built without FFmpeg";
  }
  void write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  TemporaryFolder folder_;
};

TEST_F(LiveVideoTest, EachPieceIsAFragmentAndTogetherTheyAreAFile) {
  FragmentedMp4 mp4(kFormat);
  EXPECT_TRUE(mp4.mime_type().starts_with("video/mp4; codecs=\"avc1."));
  EXPECT_EQ(mp4.mime_type().size(), std::string("video/mp4; codecs=\"avc1.64000b\"").size());
  mp4.write(plain(220, 30, 40));
  const std::string first = mp4.take();
  EXPECT_EQ(boxes(first), (std::vector<std::string>{"ftyp", "moov", "moof", "mdat"}));
  EXPECT_EQ(mp4.take(), "");
  for (int i = 0; i < 4; ++i) mp4.write(plain(20, 60, 200));
  const std::string second = mp4.take();
  EXPECT_EQ(boxes(second), (std::vector<std::string>{"moof", "mdat"}));

  write("live.mp4", first + second);
  const Video video = read_video(folder_ / "live.mp4");
  ASSERT_EQ(video.frames.size(), 5U);
  EXPECT_EQ(video.fps, 16);
  const std::size_t middle = (24 * 64 + 32) * 3;
  for (int c = 0; c < 3; ++c) {
    const auto at = middle + static_cast<std::size_t>(c);
    EXPECT_NEAR(video.frames[0][at], plain(220, 30, 40)[at], 8) << c;
    EXPECT_NEAR(video.frames[4][at], plain(20, 60, 200)[at], 8) << c;
  }
}

TEST_F(LiveVideoTest, ARecordingMayBeginWithAnyFragment) {
  FragmentedMp4 mp4(kFormat);
  mp4.write(plain(220, 30, 40));
  const std::string first = mp4.take();
  for (int i = 0; i < 3; ++i) mp4.write(plain(220, 30, 40));
  mp4.take();
  for (int i = 0; i < 3; ++i) mp4.write(plain(20, 60, 200));
  const std::string third = mp4.take();
  const std::string header = first.substr(0, first.find("moof") - 4);
  write("recording.mp4", header + third);
  const Video video = read_video(folder_ / "recording.mp4");
  ASSERT_EQ(video.frames.size(), 3U);
  for (int c = 0; c < 3; ++c) {
    const auto at = static_cast<std::size_t>((24 * 64 + 32) * 3 + c);
    EXPECT_NEAR(video.frames[0][at], plain(20, 60, 200)[at], 8) << c;
  }
}

TEST_F(LiveVideoTest, JpegKeepsTheColours) {
  JpegEncoder encoder(kFormat);
  encoder.encode(plain(0, 0, 0));
  write("frame.jpg", encoder.encode(plain(220, 30, 40)));
  const Image image = read_image(folder_ / "frame.jpg");
  ASSERT_EQ(image.width, 64);
  EXPECT_NEAR(image.rgb[0], 220, 8);
  EXPECT_NEAR(image.rgb[1], 30, 8);
  EXPECT_NEAR(image.rgb[2], 40, 8);
}

TEST_F(LiveVideoTest, RefusesWrongSizes) {
  EXPECT_THROW(FragmentedMp4({.width = 63, .height = 48}), Error);
  EXPECT_THROW(FragmentedMp4({.width = 64, .height = 48, .fps = 0}), Error);
  EXPECT_THROW(JpegEncoder({.width = 0, .height = 48}), Error);
  FragmentedMp4 mp4(kFormat);
  try {
    mp4.write(std::vector<std::uint8_t>(7));
    FAIL() << "a frame of 7 bytes";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[monarch_io] a frame has 7 bytes; 64 x 48 x 3 was expected");
  }
}

}  // namespace
}  // namespace monarch::io
