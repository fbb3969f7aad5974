// What a stream or a video is made from, and what the model of this server allows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace monarch::serving {

// What an engine offers (engine.h); messages are checked against it.
struct ModelCard {
  std::string id = {};                       // name of the model folder, without its path
  std::vector<std::string> attentions = {};  // "dense", "monarchrt", ...; the first is the default
  std::int64_t width = 0;
  std::int64_t height = 0;
  double frames_per_second = 16;
  bool gpu_encoder = false;          // the model runs on a GPU, which may encode its frames too
  std::int64_t default_frames = 81;  // of a video
  std::int64_t default_steps = 4;
  std::int64_t max_steps =
      4;  // denoising steps that may be asked for; equal to default_steps: fixed
  // Goes on for as long as somebody watches; false: makes one video after another, because its
  // model sees a video as a whole.
  bool continuous = true;
};

struct StreamSettings {
  std::string prompt = {};
  std::uint64_t seed = 0;
  std::string attention = {};
  std::int64_t steps = 0;
  std::int64_t blend = 0;  // chunks over which a new prompt takes over from the one before
};

inline constexpr std::int64_t kMaxBlend = 64;

// The seeds that every JSON reader can hold exactly.
inline constexpr std::uint64_t kMaxSeed = (std::uint64_t{1} << 53) - 1;

}  // namespace monarch::serving
