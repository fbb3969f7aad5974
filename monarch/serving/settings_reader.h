// Inside of live_protocol.cpp and video_protocol.cpp: the keys that both know.
#pragma once

#include <string>

#include "monarch/serving/json_input.h"
#include "monarch/serving/limits.h"
#include "monarch/serving/settings.h"

namespace monarch::serving {

std::uint64_t checked_seed(std::uint64_t seed);
const std::string& checked_attention(const std::string& attention, const ModelCard& model);
std::int64_t checked_steps(std::int64_t steps, const ModelCard& model, const Limits& limits);

StreamSettings default_settings(const ModelCard& model);

}  // namespace monarch::serving
