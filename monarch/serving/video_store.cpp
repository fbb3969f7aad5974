#include "monarch/serving/video_store.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <random>
#include <utility>

#include "monarch/base/log.h"
#include "monarch/io/atomic_file.h"
#include "monarch/serving/http_error.h"
#include "monarch/serving/json_input.h"

namespace monarch::serving {
namespace {

namespace fs = std::filesystem;

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

Json to_json(const VideoRecord& video) {
  return {{"prompt", video.request.settings.prompt},
          {"seed", video.request.settings.seed},
          {"attention", video.request.settings.attention},
          {"steps", video.request.settings.steps},
          {"frames", video.request.num_frames},
          {"created_at", video.created_at},
          {"completed_at", video.completed_at}};
}

VideoRecord from_json(const std::string& id, const Json& json) {
  VideoRecord video{.id = id, .status = VideoStatus::kCompleted};
  StreamSettings& settings = video.request.settings;
  json.at("prompt").get_to(settings.prompt);
  json.at("seed").get_to(settings.seed);
  json.at("attention").get_to(settings.attention);
  json.at("steps").get_to(settings.steps);
  json.at("frames").get_to(video.request.num_frames);
  json.at("created_at").get_to(video.created_at);
  json.at("completed_at").get_to(video.completed_at);
  video.frames_done = video.request.num_frames;
  MONARCH_CHECK_CODE(video.request.num_frames >= 1, kCorrupt, "[monarch_serving] no frames");
  return video;
}

}  // namespace

VideoStore::VideoStore(Engine& engine, const Limits& limits, fs::path folder)
    : engine_(engine), limits_(limits), folder_(std::move(folder)) {
  std::error_code error;
  fs::create_directories(folder_, error);
  MONARCH_CHECK_CODE(!error, kIo, "[monarch_serving] cannot make the folder for videos ",
                     folder_.string(), ": ", error.message());
  load();
}

void VideoStore::load() {
  std::vector<VideoRecord> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    const std::string id = entry.path().stem().string();
    if (entry.path().extension() != ".json" || !is_video_id(id)) continue;
    try {
      std::ifstream in(entry.path());
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      found.push_back(from_json(id, parse_object(text, "the record")));
      MONARCH_CHECK_CODE(fs::exists(clip_path(id)), kNotFound,
                         "[monarch_serving] its clip is gone");
    } catch (const std::exception& error) {
      log_warning("skipping ", entry.path().string(), ": ", error.what());
      if (!found.empty() && found.back().id == id) found.pop_back();
    }
  }
  std::ranges::sort(found, {}, [](const VideoRecord& v) { return std::pair(v.created_at, v.id); });
  for (VideoRecord& video : found) {
    order_.push_back(video.id);
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
  return video;
}

void VideoStore::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  at(id);
  std::erase(queue_, id);
  std::erase(order_, id);
  if (current_ == id) cancel_current_ = true;
  videos_.erase(id);
  std::error_code ignored;
  fs::remove(folder_ / (id + ".json"), ignored);  // first: a record promises a clip
  fs::remove(clip_path(id), ignored);
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
    std::error_code ignored;
    fs::remove(folder_ / (id + ".json"), ignored);
    fs::remove(clip_path(id), ignored);
    --ended;
  }
}

std::string VideoStore::content(const std::string& id, const std::string& range_header,
                                std::optional<ByteRange>& range, std::uint64_t& size) const {
  std::ifstream in;
  {
    const std::lock_guard lock(mutex_);
    const VideoRecord& video = at(id);
    if (video.status != VideoStatus::kCompleted) {
      throw HttpError(409, "the video is " + std::string(video_status_name(video.status)) +
                               "; its content exists once it is completed");
    }
    in.open(clip_path(id), std::ios::binary | std::ios::ate);
    MONARCH_CHECK_CODE(bool(in), kIo, "[monarch_serving] cannot read ", clip_path(id).string());
    size = static_cast<std::uint64_t>(in.tellg());
  }
  range = parse_byte_range(range_header, size);
  const ByteRange part = range.value_or(ByteRange{0, size - 1});
  std::string bytes(part.size(), '\0');
  in.seekg(static_cast<std::streamoff>(part.first));
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  MONARCH_CHECK_CODE(bool(in), kIo, "[monarch_serving] cannot read ", clip_path(id).string());
  return bytes;
}

std::int64_t VideoStore::num_waiting() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::int64_t>(queue_.size());
}

bool VideoStore::ready() {
  const std::lock_guard lock(mutex_);
  return !current_.empty() || !queue_.empty();
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
  making_->writer =
      io::open_video_writer(clip_path(video.id), card.width, card.height, card.frames_per_second);
}

void VideoStore::step() {
  try {
    if (!making_) begin();
    if (!making_) return;
    const EngineChunk chunk = making_->stream->advance([this] { return cancel_current_.load(); });
    if (cancel_current_) return finish(VideoStatus::kCancelled, "");
    const std::int64_t total = making_->video.request.num_frames;
    for (const auto& frame : chunk.frames) {
      if (making_->frames == total) break;  // the last chunk may be longer than what is left
      making_->writer->write(frame);
      ++making_->frames;
    }
    {
      const std::lock_guard lock(mutex_);
      const auto found = videos_.find(current_);
      if (found != videos_.end()) found->second.frames_done = making_->frames;
    }
    MONARCH_CHECK_CODE(!chunk.frames.empty() || making_->frames == total, kInternal,
                       "[monarch_serving] the engine made no frames");
    if (making_->frames < total) return;
    making_->writer->finish();
    making_->video.completed_at = now_seconds();
    io::write_file(folder_ / (making_->video.id + ".json"), to_json(making_->video).dump());
    finish(VideoStatus::kCompleted, "");
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) return finish(VideoStatus::kCancelled, "");
    finish(VideoStatus::kFailed, translate_exception().what());
  } catch (...) {
    finish(VideoStatus::kFailed, translate_exception().what());
  }
}

void VideoStore::finish(VideoStatus status, const std::string& error) {
  making_.reset();
  const std::lock_guard lock(mutex_);
  const std::string id = std::exchange(current_, "");
  const auto found = videos_.find(id);
  if (found == videos_.end() || found->second.status == VideoStatus::kCancelled) {
    // Removed or cancelled while its last chunk was made.
    std::error_code ignored;
    fs::remove(folder_ / (id + ".json"), ignored);
    fs::remove(clip_path(id), ignored);
    return;
  }
  found->second.status = status;
  found->second.error = error;
  found->second.completed_at = now_seconds();
  forget_oldest();
}

}  // namespace monarch::serving
