// Queries, keys and values whose attention has a known structure.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "monarch/evaluation/attention_map.h"

namespace monarch::evaluation {

enum class SyntheticKind : std::uint8_t {
  // Logits depend on the distance along each axis alone, as a sum of waves: the map is a product of
  // one matrix per axis, which every aligned Monarch split holds exactly.
  kPeriodic,
  // Every token is drawn one of 64 topics, and each query looks at the keys of one topic, which lie
  // anywhere in the video: the oracle's home, and no Monarch matrix.
  kSparse,
  // Each query gives half of its weight to the keys of its topic and half to all others; within
  // both halves weights follow the waves.
  kMixed,
};

inline constexpr std::array kSyntheticKinds = {SyntheticKind::kPeriodic, SyntheticKind::kSparse,
                                               SyntheticKind::kMixed};

std::string_view synthetic_name(SyntheticKind kind);  // "periodic", ...
std::string_view synthetic_text(SyntheticKind kind);  // how it is made, in a sentence

// Same seed, same head. head_dim is 70: two for each axis, one for each topic.
// Values say where a token lies and what its topic is, with as much weight, and have some noise.
AttentionHead synthetic_head(SyntheticKind kind, const ops::Grid& grid, std::uint64_t seed);

}  // namespace monarch::evaluation
