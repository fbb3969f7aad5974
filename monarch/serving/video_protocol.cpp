#include "monarch/serving/video_protocol.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "monarch/base/options_reader.h"
#include "monarch/io/text.h"
#include "monarch/serving/http_error.h"
#include "monarch/serving/json_input.h"
#include "monarch/serving/settings_reader.h"

namespace monarch::serving {
namespace {

// A number, or a number as text, which OpenAI's clients send.
double read_seconds(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    double seconds = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error == std::errc() && rest == text.data() + text.size() && std::isfinite(seconds)) {
      return seconds;
    }
  }
  throw HttpError(400, "seconds is " + one_line(value.dump(), 40) + "; a number was expected");
}

// Frames come in fours after the first (the VAE's stride in time).
std::int64_t round_frames(double frames) {
  return 1 + 4 * static_cast<std::int64_t>(std::llround((frames - 1) / 4));
}

VideoRequest read_request(const Json& json, const ModelCard& model, const Limits& limits) {
  VideoRequest request{default_settings(model), model.default_frames};
  StreamSettings& settings = request.settings;
  OptionsReader reader(json, "the request");
  std::string text;
  reader.read("prompt", settings.prompt);
  if (reader.read("model", text) && text != model.id) {
    throw HttpError(
        404, "there is no model " + io::quote(text, 60) + " here, only " + io::quote(model.id));
  }
  const std::string size = str_cat(model.width, 'x', model.height);
  if (reader.read("size", text) && text != size) {
    throw HttpError(400,
                    "size is " + io::quote(text, 40) + "; this server makes videos of " + size);
  }
  if (reader.read("seed", settings.seed)) checked_seed(settings.seed);
  if (reader.read("attention", settings.attention)) checked_attention(settings.attention, model);
  if (reader.read("steps", settings.steps)) checked_steps(settings.steps, model, limits);
  const auto max_frames = static_cast<double>(limits.max_video_frames);
  Json seconds;
  const bool by_frames = reader.read("frames", request.num_frames);
  if (reader.read("seconds", seconds)) {
    if (by_frames) throw HttpError(400, "give frames or seconds, not both");
    const double length = read_seconds(seconds);
    check_range("seconds", length, 1 / model.frames_per_second,
                max_frames / model.frames_per_second);
    request.num_frames = std::max<std::int64_t>(1, round_frames(length * model.frames_per_second));
  }
  check_range("frames", static_cast<double>(request.num_frames), 1, max_frames);
  if (request.num_frames % 4 != 1) {
    throw HttpError(400, str_cat("frames is ", request.num_frames,
                                 "; 1, 5, 9, ... (4 n + 1) was expected; the nearest is ",
                                 round_frames(static_cast<double>(request.num_frames))));
  }
  reader.finish();
  check_prompt(settings.prompt, limits.prompt_bytes);
  return request;
}

Json video_json(const VideoRecord& video, const ModelCard& model) {
  const StreamSettings& settings = video.request.settings;
  const std::int64_t total = video.request.num_frames;
  const std::int64_t percent = video.status == VideoStatus::kCompleted
                                   ? 100
                                   : std::min<std::int64_t>(99, 100 * video.frames_done / total);
  Json json{{"id", video.id},
            {"object", "video"},
            {"model", model.id},
            {"status", video_status_name(video.status)},
            {"progress", percent},
            {"created_at", video.created_at},
            {"completed_at", nullptr},
            {"prompt", settings.prompt},
            {"seed", settings.seed},
            {"attention", settings.attention},
            {"steps", settings.steps},
            {"frames", total},
            {"seconds", static_cast<double>(total) / model.frames_per_second},
            {"size", str_cat(model.width, 'x', model.height)},
            {"error", nullptr}};
  if (video.completed_at != 0) json["completed_at"] = video.completed_at;
  if (!video.error.empty()) json["error"] = {{"message", video.error}, {"code", "server_error"}};
  return json;
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

VideoRequest parse_video_request(std::string_view body, const ModelCard& model,
                                 const Limits& limits) {
  if (body.size() > limits.body_bytes) {
    throw HttpError(413, str_cat("the request has ", body.size(), " bytes; at most ",
                                 limits.body_bytes, " are allowed"));
  }
  const Json json = parse_object(body, "the request");
  try {
    return read_request(json, model, limits);
  } catch (const HttpError&) {
    throw;
  } catch (const Error& error) {
    throw HttpError(400, one_line(error.what()));
  }
}

std::string_view video_status_name(VideoStatus status) {
  switch (status) {
    case VideoStatus::kQueued: return "queued";
    case VideoStatus::kInProgress: return "in_progress";
    case VideoStatus::kCompleted: return "completed";
    case VideoStatus::kFailed: return "failed";
    case VideoStatus::kCancelled: return "cancelled";
  }
  return "unknown";
}

bool is_final(VideoStatus status) {
  return status != VideoStatus::kQueued && status != VideoStatus::kInProgress;
}

std::string video_body(const VideoRecord& video, const ModelCard& model) {
  return dump(video_json(video, model));
}

std::string video_list_body(const std::vector<VideoRecord>& videos, const ModelCard& model) {
  Json data = Json::array();
  for (const VideoRecord& video : videos) data.push_back(video_json(video, model));
  return dump({{"object", "list"}, {"data", data}, {"has_more", false}});
}

std::string deleted_body(const std::string& id) {
  return dump({{"id", id}, {"object", "video.deleted"}, {"deleted", true}});
}

std::string models_body(const ModelCard& model) {
  const Json card{{"id", model.id},
                  {"object", "model"},
                  {"owned_by", "local"},
                  {"size", str_cat(model.width, 'x', model.height)},
                  {"frames_per_second", model.frames_per_second},
                  {"attentions", model.attentions},
                  {"default_steps", model.default_steps},
                  {"max_steps", model.max_steps},
                  {"continuous", model.continuous}};
  return dump({{"object", "list"}, {"data", Json::array({card})}});
}

bool is_video_id(std::string_view id) {
  constexpr std::string_view kPrefix = "video_";
  return id.size() == kPrefix.size() + 32 && id.starts_with(kPrefix) &&
         std::ranges::all_of(id.substr(kPrefix.size()), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace monarch::serving
