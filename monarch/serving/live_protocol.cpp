#include "monarch/serving/live_protocol.h"

#include "monarch/base/options_reader.h"
#include "monarch/io/text.h"
#include "monarch/serving/http_error.h"
#include "monarch/serving/json_input.h"
#include "monarch/serving/settings_reader.h"

namespace monarch::serving {
namespace {

ChangeMessage read_change(OptionsReader& reader, const ModelCard& model, const Limits& limits) {
  ChangeMessage change;
  std::string text;
  std::uint64_t seed = 0;
  std::int64_t steps = 0;
  std::int64_t blend = 0;
  bool paused = false;
  if (reader.read("prompt", text)) {
    check_prompt(text, limits.prompt_bytes);
    change.prompt = text;
  }
  if (reader.read("seed", seed)) change.seed = checked_seed(seed);
  if (reader.read("attention", text)) change.attention = checked_attention(text, model);
  if (reader.read("steps", steps)) change.steps = checked_steps(steps, model, limits);
  if (reader.read("blend", blend)) {
    check_range("blend", static_cast<double>(blend), 0, static_cast<double>(kMaxBlend));
    change.blend = blend;
  }
  if (reader.read("paused", paused)) change.paused = paused;
  return change;
}

ViewerMessage read_message(const Json& json, const ModelCard& model, const Limits& limits) {
  OptionsReader reader(json, "the message");
  std::string type;
  reader.read("type", type);
  if (type == "start") {
    const ChangeMessage given = read_change(reader, model, limits);
    reader.finish();
    if (!given.prompt) throw HttpError(400, "a start message needs a prompt");
    StreamSettings settings = default_settings(model);
    settings.prompt = *given.prompt;
    if (given.seed) settings.seed = *given.seed;
    if (given.attention) settings.attention = *given.attention;
    if (given.steps) settings.steps = *given.steps;
    if (given.blend) settings.blend = *given.blend;
    return StartMessage{settings};
  }
  if (type == "change") {
    ChangeMessage change = read_change(reader, model, limits);
    reader.finish();
    return change;
  }
  if (type == "restart") {
    reader.finish();
    return RestartMessage{};
  }
  if (type == "played") {
    PlayedMessage played;
    reader.read("frame", played.frame);
    reader.finish();
    check_range("frame", static_cast<double>(played.frame), 0, 1e15);
    return played;
  }
  throw HttpError(400, "the message's type is " + io::quote(type, 40) +
                           "; start, change, restart or played was expected");
}

Json settings_json(const StreamSettings& settings) {
  return {{"prompt", settings.prompt},
          {"seed", settings.seed},
          {"attention", settings.attention},
          {"steps", settings.steps},
          {"blend", settings.blend}};
}

// Prompts were checked to be UTF-8; file names and messages of others may not be.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

ViewerMessage parse_viewer_message(std::string_view text, const ModelCard& model,
                                   const Limits& limits) {
  if (text.size() > limits.message_bytes) {
    throw HttpError(413, str_cat("the message has ", text.size(), " bytes; at most ",
                                 limits.message_bytes, " are allowed"));
  }
  const Json json = parse_object(text, "the message");
  try {
    return read_message(json, model, limits);
  } catch (const HttpError&) {
    throw;
  } catch (const Error& error) {
    throw HttpError(400, one_line(error.what()));
  }
}

std::string hello_message(const ModelCard& model, const std::string& mime_type,
                          const Limits& limits) {
  return dump({{"type", "hello"},
               {"model", model.id},
               {"attentions", model.attentions},
               {"width", model.width},
               {"height", model.height},
               {"frames_per_second", model.frames_per_second},
               {"default_steps", model.default_steps},
               {"max_steps", model.max_steps},
               {"continuous", model.continuous},
               {"max_prompt_bytes", limits.prompt_bytes},
               {"mime_type", mime_type}});
}

std::string chunk_message(const ChunkReport& report) {
  return dump({{"type", "chunk"},
               {"chunk", report.chunk_index},
               {"first_frame", report.first_frame},
               {"frames", report.num_frames},
               {"settings", settings_json(report.settings)},
               {"denoise_seconds", report.denoise_seconds},
               {"decode_seconds", report.decode_seconds},
               {"encode_seconds", report.encode_seconds},
               {"wait_seconds", report.wait_seconds},
               {"first_frame_seconds", report.first_frame_seconds},
               {"sparsity", report.sparsity},
               {"memory_bytes", report.memory_bytes},
               {"viewers", report.viewers}});
}

std::string error_message(int status, std::string_view message) {
  return dump({{"type", "error"}, {"code", status}, {"message", message}});
}

std::string end_message(std::string_view reason) {
  return dump({{"type", "end"}, {"reason", reason}});
}

}  // namespace monarch::serving
