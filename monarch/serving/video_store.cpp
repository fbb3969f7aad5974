#include "monarch/serving/video_store.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "monarch/serving/http_error.h"

namespace monarch::serving {
namespace {

std::string new_id() {
  std::random_device random;  // the system's generator: ids cannot be guessed
  std::string id = "video_";
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t bits = random();
    for (int shift = 28; shift >= 0; shift -= 4) id += "0123456789abcdef"[bits >> shift & 0xf];
  }
  return id;
}

std::int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

VideoStore::VideoStore(Engine& engine, const Limits& limits, std::filesystem::path folder)
    : engine_(engine), limits_(limits), folder_(std::move(folder)) {
  for (VideoRecord& video : folder_.load()) {
    order_.push_back(video.id);
    if (video.status == VideoStatus::kQueued) queue_.push_back(video.id);
    videos_.emplace(video.id, std::move(video));
  }
  forget_oldest();
}

VideoRecord& VideoStore::at(const std::string& id) {
  const auto found = is_video_id(id) ? videos_.find(id) : videos_.end();
  if (found == videos_.end()) throw HttpError(404, "there is no such video");
  return found->second;
}

const VideoRecord& VideoStore::at(const std::string& id) const {
  return const_cast<VideoStore*>(this)->at(id);
}

VideoRecord VideoStore::add(VideoRequest request) {
  const std::lock_guard lock(mutex_);
  if (queue_.size() >= static_cast<std::size_t>(limits_.max_queued_videos)) {
    throw HttpError(429,
                    str_cat("the queue is full with ", queue_.size(), " videos; try again later"),
                    std::chrono::seconds(10));
  }
  VideoRecord video{.id = new_id(), .request = std::move(request), .created_at = now_seconds()};
  queue_.push_back(video.id);
  order_.push_back(video.id);
  videos_.emplace(video.id, video);
  forget_oldest();
  return video;
}

VideoRecord VideoStore::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  return at(id);
}

std::vector<VideoRecord> VideoStore::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<VideoRecord> videos;
  for (auto id = order_.rbegin(); id != order_.rend(); ++id) videos.push_back(videos_.at(*id));
  return videos;
}

VideoRecord VideoStore::cancel(const std::string& id) {
  const std::lock_guard lock(mutex_);
  VideoRecord& video = at(id);
  if (is_final(video.status)) {
    throw HttpError(409,
                    "the video is " + std::string(video_status_name(video.status)) + " already");
  }
  video.status = VideoStatus::kCancelled;
  video.completed_at = now_seconds();
  std::erase(queue_, id);
  if (current_ == id) cancel_current_ = true;
  folder_.remove(id);  // it may have waited since an earlier run
  return video;
}

void VideoStore::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  at(id);
  std::erase(queue_, id);
  std::erase(order_, id);
  if (current_ == id) cancel_current_ = true;
  videos_.erase(id);
  folder_.remove(id);
}

void VideoStore::forget_oldest() {
  std::size_t ended = 0;
  for (const auto& [id, video] : videos_) ended += is_final(video.status) ? 1 : 0;
  for (std::size_t i = 0;
       i < order_.size() && ended > static_cast<std::size_t>(limits_.max_kept_videos);) {
    const std::string id = order_[i];
    if (!is_final(videos_.at(id).status)) {
      ++i;
      continue;
    }
    order_.erase(order_.begin() + static_cast<std::ptrdiff_t>(i));
    videos_.erase(id);
    folder_.remove(id);
    --ended;
  }
}

std::ifstream VideoStore::open_clip(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const VideoRecord& video = at(id);
  if (video.status != VideoStatus::kCompleted) {
    throw HttpError(409, "the video is " + std::string(video_status_name(video.status)) +
                             "; its content exists once it is completed");
  }
  std::ifstream clip(folder_.clip_path(id), std::ios::binary);
  MONARCH_CHECK_CODE(bool(clip), kIo, "[monarch_serving] cannot read ",
                     folder_.clip_path(id).string());
  return clip;
}

std::int64_t VideoStore::num_waiting() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::int64_t>(queue_.size());
}

bool VideoStore::ready() {
  const std::lock_guard lock(mutex_);
  return !stopping_ && (!current_.empty() || !queue_.empty());
}

void VideoStore::begin() {
  VideoRecord video;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) return;
    current_ = queue_.front();
    queue_.pop_front();
    cancel_current_ = false;
    VideoRecord& record = videos_.at(current_);
    record.status = VideoStatus::kInProgress;
    video = record;
  }
  making_.emplace();
  making_->video = video;
  making_->stream = engine_.open(video.request.settings, video.request.num_frames);
  const ModelCard& card = engine_.card();
  making_->writer = io::open_video_writer(folder_.clip_path(video.id), card.width, card.height,
                                          card.frames_per_second, card.gpu_encoder);
}

void VideoStore::advance() {
  const Frames frames =
      making_->stream->advance([this] { return cancel_current_ || stopping_; }).take();
  if (cancel_current_) return finish(VideoStatus::kCancelled, "");
  const std::int64_t total = making_->video.request.num_frames;
  MONARCH_CHECK_CODE(!frames.empty(), kInternal, "[monarch_serving] the engine made no frames");
  for (const auto& frame : frames) {
    if (making_->frames == total) break;  // the last chunk may be longer than what is left
    making_->writer->write(frame);
    ++making_->frames;
  }
  {
    const std::lock_guard lock(mutex_);
    const auto found = videos_.find(current_);
    if (found != videos_.end()) found->second.frames_done = making_->frames;
  }
  if (making_->frames < total) return;
  making_->writer->finish();
  making_->video.status = VideoStatus::kCompleted;
  making_->video.completed_at = now_seconds();
  folder_.save(making_->video);
  finish(VideoStatus::kCompleted, "");
}

void VideoStore::step() {
  try {
    if (!making_) begin();
    if (making_) advance();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) {
      finish(VideoStatus::kFailed, translate_exception().what());
    } else if (stopping_ && !cancel_current_) {
      wait_again();
    } else {
      finish(VideoStatus::kCancelled, "");
    }
  } catch (...) {
    finish(VideoStatus::kFailed, translate_exception().what());
  }
}

void VideoStore::wait_again() {
  making_.reset();
  const std::lock_guard lock(mutex_);
  const std::string id = std::exchange(current_, "");
  const auto found = videos_.find(id);
  if (found == videos_.end()) return;
  found->second.status = VideoStatus::kQueued;
  found->second.frames_done = 0;
  queue_.push_front(id);
}

void VideoStore::save_waiting() const {
  const std::lock_guard lock(mutex_);
  // One that was between two chunks stopped without noticing.
  for (const auto& [id, video] : videos_) {
    if (is_final(video.status)) continue;
    VideoRecord waiting = video;
    waiting.status = VideoStatus::kQueued;
    folder_.save(waiting);
  }
}

void VideoStore::finish(VideoStatus status, const std::string& error) {
  making_.reset();
  const std::lock_guard lock(mutex_);
  const std::string id = std::exchange(current_, "");
  const auto found = videos_.find(id);
  if (found == videos_.end() || found->second.status == VideoStatus::kCancelled) {
    folder_.remove(id);  // removed or cancelled while its last chunk was made
    return;
  }
  if (status == VideoStatus::kFailed) folder_.remove(id);
  found->second.status = status;
  found->second.error = error;
  found->second.completed_at = now_seconds();
  forget_oldest();
}

}  // namespace monarch::serving
