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
  std::int64_t dense_steps = 0;  // the first denoising steps that attend densely instead

  std::string name() const;
};

// What `monarch generate` can run on this grid for less than dense attention costs, cheapest first:
// tilings of monarchrt with up to two iterations, vmonarch with up to three.
std::vector<AttentionSetting> settings_to_try(const ops::Grid& grid);

// Measures the settings on the heads and leaves out those no nearer to dense attention than one
// that costs no more.
std::vector<AttentionSetting> worth_trying(std::vector<AttentionSetting> settings,
                                           std::span<const evaluation::AttentionHead> heads);

// Some of these settings, from the cheapest to the nearest, for all steps of a run or after some
// dense steps; cheapest first.
std::vector<AttentionSetting> with_dense_steps(std::span<const AttentionSetting> settings,
                                               std::int64_t num_steps);

// As a configuration file for `monarch generate --config`; `comment` is its first line.
std::string as_yaml(const AttentionSetting& setting, const std::string& comment);

struct Suggestion {
  std::string text;  // a sentence
  std::string yaml;
  Json tried = Json::array();  // setting, cost, error, lowest psnr so far, videos
};

// Of some settings worth trying, also after dense steps, the cheapest with which every video keeps
// `psnr` dB against the one of dense attention; dense if none does.
Suggestion suggest(VideoJudge& judge, std::span<const evaluation::AttentionHead> heads, double psnr,
                   bool quiet);

}  // namespace monarch::apps
