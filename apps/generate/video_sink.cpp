#include "apps/generate/video_sink.h"

#include <span>
#include <utility>

#include "monarch/base/timer.h"

namespace monarch::apps {

VideoSink::VideoSink(std::vector<std::filesystem::path> paths, double frames_per_second,
                     bool gpu_encoder)
    : paths_(std::move(paths)), frames_per_second_(frames_per_second), gpu_encoder_(gpu_encoder) {}

bool VideoSink::write(const at::Tensor& frames, std::int64_t /*first_frame*/) {
  const Timer timer;
  const at::Tensor rgb = pipelines::to_rgb8(frames).contiguous();  // [B, T, H, W, 3]
  const auto frame_bytes = static_cast<std::size_t>(rgb.size(2) * rgb.size(3) * 3);
  for (std::size_t sample = 0; sample < paths_.size(); ++sample) {
    if (writers_.size() <= sample) {
      writers_.push_back(io::open_video_writer(paths_[sample], rgb.size(3), rgb.size(2),
                                               frames_per_second_, gpu_encoder_));
    }
    const std::uint8_t* data =
        rgb[static_cast<std::int64_t>(sample)].const_data_ptr<std::uint8_t>();
    for (std::int64_t t = 0; t < rgb.size(1); ++t) {
      writers_[sample]->write(
          std::span(data + static_cast<std::size_t>(t) * frame_bytes, frame_bytes));
    }
  }
  num_frames_ += rgb.size(1);
  encode_seconds_ += timer.seconds();
  return true;
}

void VideoSink::finish() {
  const Timer timer;
  for (auto& writer : writers_) writer->finish();
  writers_.clear();
  encode_seconds_ += timer.seconds();
}

}  // namespace monarch::apps
