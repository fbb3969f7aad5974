// Frames as numbered PNG files in a folder.
#include <array>
#include <cstdio>
#include <system_error>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/io/atomic_file.h"
#include "monarch/io/image.h"
#include "monarch/io/video_writer.h"

namespace monarch::io {
namespace {

namespace fs = std::filesystem;

bool is_frame_name(const std::string& name) {
  return name.starts_with("frame_") && name.ends_with(".png");
}

class PngFolderWriter final : public VideoWriter {
 public:
  explicit PngFolderWriter(VideoTarget target) : target_(std::move(target)) {
    if (!target_.path.has_filename()) target_.path = target_.path.parent_path();
    MONARCH_CHECK_CODE(!fs::exists(target_.path) || fs::is_directory(target_.path), kIo,
                       "[monarch_io] cannot write frames into ", target_.path.string(),
                       ": it is a file");
    // The name of a sibling that does not exist yet, with the checks of its parent folder.
    temporary_ = temporary_name(target_.path.string() + "-frames");
    std::error_code error;
    fs::create_directory(temporary_, error);
    MONARCH_CHECK_CODE(!error, kIo, "[monarch_io] cannot write ", target_.path.string(), ": ",
                       error.message());
  }

  ~PngFolderWriter() override {
    std::error_code ignored;
    if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
  }

  void write(std::span<const std::uint8_t> rgb) override {
    target_.check_frame(rgb);
    std::array<char, 32> name{};
    std::snprintf(name.data(), name.size(), "frame_%05d.png", num_frames_++);
    write_png(temporary_ / name.data(), target_.width, target_.height, rgb);
  }

  void finish() override {
    try {
      if (!fs::exists(target_.path)) {
        fs::rename(temporary_, target_.path);
      } else {
        replace_frames();
      }
    } catch (const fs::filesystem_error& error) {
      fail(ErrorCode::kIo, "[monarch_io] cannot write ", target_.path.string(), ": ",
           error.code().message());
    }
    temporary_.clear();
  }

 private:
  // Frames of an earlier, longer video must not stay behind the new ones.
  void replace_frames() const {
    for (const auto& item : fs::directory_iterator(target_.path)) {
      if (is_frame_name(item.path().filename().string())) fs::remove(item.path());
    }
    for (const auto& item : fs::directory_iterator(temporary_)) {
      fs::rename(item.path(), target_.path / item.path().filename());
    }
    fs::remove(temporary_);
  }

  VideoTarget target_;
  fs::path temporary_;
  int num_frames_ = 0;
};

}  // namespace

std::unique_ptr<VideoWriter> open_png_writer(const VideoTarget& target) {
  return std::make_unique<PngFolderWriter>(target);
}

}  // namespace monarch::io
