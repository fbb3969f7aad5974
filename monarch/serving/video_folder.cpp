#include "monarch/serving/video_folder.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <fstream>
#include <utility>

#include "monarch/base/log.h"
#include "monarch/io/atomic_file.h"
#include "monarch/serving/json_input.h"

namespace monarch::serving {
namespace {

namespace fs = std::filesystem;

Json to_json(const VideoRecord& video) {
  return {{"status", video_status_name(video.status)},
          {"prompt", video.request.settings.prompt},
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
  if (json.at("status") == video_status_name(VideoStatus::kQueued)) {
    video.status = VideoStatus::kQueued;
  }
  json.at("prompt").get_to(settings.prompt);
  json.at("seed").get_to(settings.seed);
  json.at("attention").get_to(settings.attention);
  json.at("steps").get_to(settings.steps);
  json.at("frames").get_to(video.request.num_frames);
  json.at("created_at").get_to(video.created_at);
  json.at("completed_at").get_to(video.completed_at);
  MONARCH_CHECK_CODE(video.request.num_frames >= 1, kCorrupt, "[monarch_serving] no frames");
  if (video.status == VideoStatus::kCompleted) video.frames_done = video.request.num_frames;
  return video;
}

// Whether ".ID.PROCESS-7.part.mp4" (io::temporary_name) is of a video, and of a process that has
// ended. This process has written nothing yet, so its number is that of an earlier one.
bool is_leftover(const std::string& name) {
  const std::size_t dot = name.find('.', 1);
  if (!name.starts_with('.') || dot == std::string::npos || !is_video_id(name.substr(1, dot - 1)) ||
      name.find(".part.") == std::string::npos) {
    return false;
  }
  int process = 0;
  const char* const end = name.data() + name.size();
  if (std::from_chars(name.data() + dot + 1, end, process).ec != std::errc() || process <= 0) {
    return false;
  }
  return process == ::getpid() || (::kill(process, 0) != 0 && errno == ESRCH);
}

}  // namespace

VideoFolder::VideoFolder(fs::path folder) : folder_(std::move(folder)) {
  std::error_code error;
  fs::create_directories(folder_, error);
  MONARCH_CHECK_CODE(!error, kIo, "[monarch_serving] cannot make the folder for videos ",
                     folder_.string(), ": ", error.message());
  remove_leftovers();
}

void VideoFolder::remove_leftovers() const {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    if (is_leftover(entry.path().filename().string())) fs::remove(entry.path(), ignored);
  }
}

std::vector<VideoRecord> VideoFolder::load() const {
  std::vector<VideoRecord> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    const std::string id = entry.path().stem().string();
    if (entry.path().extension() != ".json" || !is_video_id(id)) continue;
    try {
      std::ifstream in(entry.path());
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      VideoRecord video = from_json(id, parse_object(text, "the record"));
      MONARCH_CHECK_CODE(video.status == VideoStatus::kQueued || fs::exists(clip_path(id)),
                         kNotFound, "[monarch_serving] its clip is gone");
      found.push_back(std::move(video));
    } catch (const std::exception& error) {
      log_warning("skipping ", entry.path().string(), ": ", error.what());
    }
  }
  std::ranges::sort(found, {}, [](const VideoRecord& v) { return std::pair(v.created_at, v.id); });
  return found;
}

void VideoFolder::save(const VideoRecord& video) const {
  io::write_file(record_path(video.id), to_json(video).dump());
}

void VideoFolder::remove(const std::string& id) const {
  std::error_code ignored;
  fs::remove(record_path(id), ignored);  // first: the record of a completed video promises a clip
  fs::remove(clip_path(id), ignored);
}

}  // namespace monarch::serving
