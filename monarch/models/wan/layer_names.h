#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace monarch::models {

// The layer of "blocks.3.norm3.weight"; nothing for names outside the layers.
inline std::optional<std::size_t> layer_of(const std::string& name) {
  constexpr std::string_view kLayers = "blocks.";
  if (!name.starts_with(kLayers)) return std::nullopt;
  return std::stoul(name.substr(kLayers.size()));
}

}  // namespace monarch::models
