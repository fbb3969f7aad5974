// The cheapest attention of a model that keeps its videos good enough.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/compare/video_judge.h"
#include "monarch/ops/monarch_options.h"

namespace monarch::apps {

struct AttentionSetting {
  evaluation::AttentionMethod method;
  double cost = 1;                   // floating-point operations over those of dense attention
  ops::MonarchOptions monarch = {};  // used if enabled
  std::optional<ops::VMonarchOptions> vmonarch = {};  // used if set; neither: dense
  double error = 0;                                   // mean relative output error on some heads
};

// What `monarch generate` can run on this grid for less than dense attention costs, cheapest first:
// tilings of monarchrt with up to two iterations, vmonarch with up to three.
std::vector<AttentionSetting> settings_to_try(const ops::Grid& grid);

// Measures the settings on the heads and leaves out those no nearer to dense attention than one
// that costs no more.
std::vector<AttentionSetting> worth_trying(std::vector<AttentionSetting> settings,
                                           std::span<const evaluation::AttentionHead> heads);

// As a configuration file for `monarch generate --config`; `comment` is its first line.
std::string as_yaml(const AttentionSetting& setting, const std::string& comment);

struct Suggestion {
  std::string text;  // a sentence
  std::string yaml;
  Json tried = Json::array();  // setting, cost, error, lowest psnr so far, videos
};

// Of the settings worth trying, the cheapest with which every video keeps `psnr` dB against the one
// of dense attention; dense if none does.
Suggestion suggest(VideoJudge& judge, std::span<const evaluation::AttentionHead> heads, double psnr,
                   bool quiet);

}  // namespace monarch::apps
