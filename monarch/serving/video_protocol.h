// The job API beside the live stream, in the shape of OpenAI's: bodies of /v1/videos and
// /v1/models.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/serving/limits.h"
#include "monarch/serving/settings.h"

namespace monarch::serving {

struct VideoRequest {
  StreamSettings settings = {};
  std::int64_t num_frames = 0;
};

// {"prompt": ..., "model": id, "seconds": 5 or "5" | "frames": 81, "size": "832x480", "seed": 0,
// "attention": "dense", "steps": 4}; only the prompt is needed. Throws HttpError 400, 404 (another
// model) or 413.
VideoRequest parse_video_request(std::string_view body, const ModelCard& model,
                                 const Limits& limits);

enum class VideoStatus { kQueued, kInProgress, kCompleted, kFailed, kCancelled };
std::string_view video_status_name(VideoStatus status);  // "queued", "in_progress", ...
bool is_final(VideoStatus status);

struct VideoRecord {
  std::string id = {};
  VideoRequest request = {};
  VideoStatus status = VideoStatus::kQueued;
  std::int64_t frames_done = 0;
  std::int64_t created_at = 0;    // seconds since 1970
  std::int64_t completed_at = 0;  // 0: not yet
  std::string error = {};         // of a failed one
};

std::string video_body(const VideoRecord& video, const ModelCard& model);
std::string video_list_body(const std::vector<VideoRecord>& videos, const ModelCard& model);
std::string deleted_body(const std::string& id);
std::string models_body(const ModelCard& model);

// "video_" and 32 hexadecimal digits, the only form that is looked up.
bool is_video_id(std::string_view id);

}  // namespace monarch::serving
