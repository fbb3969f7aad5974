// Messages of the WebSocket /v1/live (docs/serving.md). Text frames are JSON objects with a "type";
// binary frames, to the viewer only, are pieces of one fragmented MP4.
//
//   viewer  {"type": "start", "prompt": "a red circle", "seed": 7, "attention": "dense", "steps":
//   4}
//           {"type": "change", ...}   any of prompt, seed, attention, steps, blend, paused: at the
//           next chunk
//           {"type": "restart"}       from the first frame, with the settings as they are
//           {"type": "played", "frame": 120}   how far the viewer is; a viewer far behind is waited
//           for
//   server  {"type": "hello"}, {"type": "chunk"}, {"type": "error"}, {"type": "end"}
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "monarch/serving/limits.h"
#include "monarch/serving/settings.h"

namespace monarch::serving {

struct StartMessage {
  StreamSettings settings = {};  // complete: defaults of the model where the viewer named nothing
};

struct ChangeMessage {
  std::optional<std::string> prompt = {};
  std::optional<std::uint64_t> seed =
      {};  // with a restart: a seed has no meaning in a running stream
  std::optional<std::string> attention = {};
  std::optional<std::int64_t> steps = {};
  std::optional<std::int64_t> blend = {};
  std::optional<bool> paused = {};
};

struct RestartMessage {};

struct PlayedMessage {
  std::int64_t frame = 0;
};

using ViewerMessage = std::variant<StartMessage, ChangeMessage, RestartMessage, PlayedMessage>;

// Throws HttpError(400) with what is wrong.
ViewerMessage parse_viewer_message(std::string_view text, const ModelCard& model,
                                   const Limits& limits);

// What one chunk cost; seconds.
struct ChunkReport {
  std::int64_t chunk_index = 0;
  std::int64_t first_frame = 0;
  std::int64_t num_frames = 0;
  StreamSettings settings = {};  // it was made with
  double denoise_seconds = 0;
  double decode_seconds = 0;
  double encode_seconds = 0;
  double wait_seconds = 0;         // for other viewers' turns
  double first_frame_seconds = 0;  // from the start message to the first frame
  double sparsity = 0;             // share of the attention scores that are not computed
  std::uint64_t memory_bytes = 0;  // resident memory of the server
  std::int64_t viewers = 0;
};

std::string hello_message(const ModelCard& model, const std::string& mime_type,
                          const Limits& limits);
std::string chunk_message(const ChunkReport& report);
std::string error_message(int status, std::string_view message);
std::string end_message(std::string_view reason);

}  // namespace monarch::serving
