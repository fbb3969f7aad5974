// Frames on their way into files: one writer a sample.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "monarch/io/video.h"
#include "monarch/pipelines/frame_sink.h"

namespace monarch::apps {

class VideoSink : public pipelines::FrameSink {
 public:
  // One path a sample of the batch. `gpu_encoder`: io/video.h.
  VideoSink(std::vector<std::filesystem::path> paths, double frames_per_second, bool gpu_encoder);

  bool write(const at::Tensor& frames, std::int64_t first_frame) override;

  // Gives the files their final names. Without it nothing stays behind.
  void finish();

  std::int64_t num_frames() const { return num_frames_; }
  double encode_seconds() const { return encode_seconds_; }

 private:
  std::vector<std::filesystem::path> paths_;
  double frames_per_second_;
  bool gpu_encoder_;
  std::vector<std::unique_ptr<io::VideoWriter>> writers_;
  std::int64_t num_frames_ = 0;
  double encode_seconds_ = 0;
};

}  // namespace monarch::apps
