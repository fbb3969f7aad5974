// Videos that were asked for: a queue with an end, one at a time in turn with the live streams, and
// a folder of finished clips (video_folder.h).
#pragma once

#include <atomic>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "monarch/io/video.h"
#include "monarch/serving/engine.h"
#include "monarch/serving/limits.h"
#include "monarch/serving/scheduler.h"
#include "monarch/serving/video_folder.h"
#include "monarch/serving/video_protocol.h"

namespace monarch::serving {

// A video while its frames come.
struct VideoInTheMaking {
  VideoRecord video;
  std::unique_ptr<EngineStream> stream;
  std::unique_ptr<io::VideoWriter> writer;
  std::int64_t frames = 0;
};

class VideoStore final : public Task {
 public:
  // Finds the clips of earlier runs in `folder`, and the videos that still waited.
  VideoStore(Engine& engine, const Limits& limits, std::filesystem::path folder);

  // Thread-safe. Unknown ids: HttpError(404).
  VideoRecord add(VideoRequest request);  // HttpError(429): the queue is full
  VideoRecord find(const std::string& id) const;
  std::vector<VideoRecord> list() const;  // newest first
  // Stops it at the next step if it is being made. HttpError(409): it has ended.
  VideoRecord cancel(const std::string& id);
  void remove(const std::string& id);  // with its clip; cancels it first
  // A completed clip, open, so that it may be removed while it is read. HttpError(409): not
  // completed.
  std::ifstream open_clip(const std::string& id) const;
  std::int64_t num_waiting() const;

  // The server ends: the video that is being made stops at its next step and waits again.
  void interrupt() { stopping_ = true; }
  // Once no step runs any more: what waits is made after the next start.
  void save_waiting() const;

  bool ready() override;
  bool done() override { return false; }
  void step() override;

 private:
  void begin();
  void advance();
  void finish(VideoStatus status, const std::string& error);
  void wait_again();
  void forget_oldest();  // with the lock held
  VideoRecord& at(const std::string& id);
  const VideoRecord& at(const std::string& id) const;

  Engine& engine_;
  const Limits& limits_;
  const VideoFolder folder_;
  mutable std::mutex mutex_;
  std::map<std::string, VideoRecord> videos_;
  std::deque<std::string> order_;  // oldest first
  std::deque<std::string> queue_;
  std::atomic<bool> cancel_current_ = false;
  std::atomic<bool> stopping_ = false;
  std::string current_;

  // The scheduler's thread alone.
  std::optional<VideoInTheMaking> making_;
};

}  // namespace monarch::serving
