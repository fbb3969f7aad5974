#include "apps/evaluate/frame_store.h"

#include "monarch/base/error.h"

namespace monarch::apps {

FrameStore::FrameStore(std::filesystem::path path, std::int64_t frames, std::int64_t height,
                       std::int64_t width)
    : path_(std::move(path)),
      shape_{frames, height, width, 3},
      video_bytes_(frames * height * width * 3) {
  const auto mode = std::ios::binary | std::ios::in | std::ios::out;
  file_.open(path_, mode);
  if (!file_.is_open()) file_.open(path_, mode | std::ios::trunc);
  MONARCH_CHECK_CODE(file_.is_open(), kIo, "[evaluate] cannot write ", path_.string());
}

void FrameStore::write(std::int64_t index, const at::Tensor& video) {
  MONARCH_CHECK(video.sizes() == shape_ && video.scalar_type() == at::kByte,
                "[evaluate] a video of shape ", shape_string(video.sizes()), " among those of ",
                shape_string(shape_));
  file_.seekp(index * video_bytes_);
  file_.write(static_cast<const char*>(video.contiguous().const_data_ptr()), video_bytes_);
  file_.flush();
  MONARCH_CHECK_CODE(file_.good(), kIo, "[evaluate] cannot write ", path_.string(),
                     "; is the disk full?");
}

at::Tensor FrameStore::read(std::int64_t index) {
  at::Tensor video = at::empty(shape_, at::kByte);
  file_.seekg(index * video_bytes_);
  file_.read(static_cast<char*>(video.data_ptr()), video_bytes_);
  MONARCH_CHECK_CODE(file_.good(), kIo, "[evaluate] ", path_.string(), " does not hold video ",
                     index, "; remove the file and run again");
  return video;
}

}  // namespace monarch::apps
