#include "apps/compare/suggestion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "apps/command.h"
#include "apps/progress.h"
#include "monarch/base/error.h"
#include "monarch/evaluation/monarch_methods.h"

namespace monarch::apps {
namespace {

constexpr std::int64_t kMaxBands = 4;                        // of a frame's rows and of its columns
constexpr std::int64_t kMaxFrames = 8;                       // that share a block
constexpr std::size_t kHeads = 24;                           // measured
constexpr std::int64_t kQueries = 128;                       // measured of each
constexpr std::size_t kVideoSettings = 6;                    // with which videos are made
constexpr std::array kDenseParts = {0.0, 0.125, 0.25, 0.5};  // of the steps

std::vector<std::int64_t> divisors(std::int64_t extent, std::int64_t most) {
  std::vector<std::int64_t> found;
  for (std::int64_t part = 1; part <= std::min(extent, most); ++part) {
    if (extent % part == 0) found.push_back(part);
  }
  return found;
}

const char* yaml_bool(bool value) { return value ? "true" : "false"; }

std::string tenths(double value) { return str_cat(std::round(10 * value) / 10); }

bool cheaper(const AttentionSetting& a, const AttentionSetting& b) { return a.cost < b.cost; }

void check_not_interrupted() {
  MONARCH_CHECK_CODE(!interrupted(), kCancelled, "[compare] interrupted");
}

}  // namespace

std::vector<AttentionSetting> settings_to_try(const ops::Grid& grid) {
  std::vector<AttentionSetting> settings;
  for (const std::int64_t f_tied : divisors(grid.frames, kMaxFrames)) {
    for (const std::int64_t h_reduce : divisors(grid.height, kMaxBands)) {
      for (const std::int64_t w_reduce : divisors(grid.width, kMaxBands)) {
        for (const std::int64_t iterations : {1, 2}) {
          const ops::MonarchOptions options{.enable = true,
                                            .num_iters = iterations,
                                            .f_tied = f_tied,
                                            .h_reduce = h_reduce,
                                            .w_reduce = w_reduce};
          settings.push_back({.method = evaluation::monarchrt(options),
                              .cost = evaluation::relative_cost(options, grid),
                              .monarch = options});
        }
      }
    }
  }
  for (const std::int64_t iterations : {1, 2, 3}) {
    const ops::VMonarchOptions options{.num_iters = iterations};
    settings.push_back({.method = evaluation::vmonarch(options),
                        .cost = evaluation::relative_cost(options, grid),
                        .vmonarch = options});
  }
  std::erase_if(settings, [](const AttentionSetting& setting) { return setting.cost >= 1; });
  std::stable_sort(settings.begin(), settings.end(), cheaper);
  return settings;
}

std::vector<AttentionSetting> worth_trying(std::vector<AttentionSetting> settings,
                                           std::span<const evaluation::AttentionHead> heads) {
  const std::size_t count = std::min(kHeads, heads.size());
  for (std::size_t i = 0; i < count; ++i) {
    const evaluation::AttentionTruth truth(heads[i * heads.size() / count], kQueries);
    for (AttentionSetting& setting : settings)
      setting.error += truth.measure(setting.method).output / static_cast<double>(count);
    check_not_interrupted();
  }
  std::vector<AttentionSetting> kept;
  for (AttentionSetting& setting : settings) {
    if (kept.empty() || setting.error < kept.back().error) kept.push_back(std::move(setting));
  }
  return kept;
}

std::vector<AttentionSetting> with_dense_steps(std::span<const AttentionSetting> settings,
                                               std::int64_t num_steps) {
  std::set<std::int64_t> dense_steps;
  for (const double part : kDenseParts)
    dense_steps.insert(std::llround(part * static_cast<double>(num_steps)));
  const std::size_t count = std::min(kVideoSettings, settings.size());
  std::vector<AttentionSetting> all;
  for (std::size_t i = 0; i < count; ++i) {
    const AttentionSetting& setting =
        settings[count == 1 ? 0 : i * (settings.size() - 1) / (count - 1)];
    for (const std::int64_t steps : dense_steps) {
      const double dense = static_cast<double>(steps) / static_cast<double>(num_steps);
      if (dense >= 1) continue;
      all.push_back(setting);
      all.back().dense_steps = steps;
      all.back().cost = dense + (1 - dense) * setting.cost;
    }
  }
  std::stable_sort(all.begin(), all.end(), cheaper);
  return all;
}

std::string AttentionSetting::name() const {
  return str_cat(method.family, " ", method.name,
                 dense_steps > 0 ? str_cat(", after ", dense_steps,
                                           dense_steps == 1 ? " dense step" : " dense steps")
                                 : std::string());
}

std::string as_yaml(const AttentionSetting& setting, const std::string& comment) {
  std::string yaml = "# " + comment + "\n";
  const ops::MonarchOptions& monarch = setting.monarch;
  if (!monarch.enable) {
    yaml += "monarch_args: {enable: false}\n";
  } else {
    yaml += str_cat("monarch_args: {enable: true, num_iters: ", monarch.num_iters,
                    ", f_tied: ", monarch.f_tied, ", h_reduce: ", monarch.h_reduce,
                    ", w_reduce: ", monarch.w_reduce, "}\n");
  }
  if (setting.vmonarch) {
    yaml += str_cat("vmonarch_args: {num_iters: ", setting.vmonarch->num_iters,
                    ", c_r_min: ", setting.vmonarch->c_r_min,
                    ", recompute_first_frame: ", yaml_bool(setting.vmonarch->recompute_first_frame),
                    ", frames_per_factor: ", setting.vmonarch->frames_per_factor, "}\n");
  }
  // In any case in the place of the model's own rules.
  if (setting.dense_steps == 0) return yaml + "attention: []\n";
  return yaml + str_cat("attention: [{preset: dense, steps: 0-", setting.dense_steps - 1, "}]\n");
}

Suggestion suggest(VideoJudge& judge, std::span<const evaluation::AttentionHead> heads, double psnr,
                   bool quiet) {
  const ops::Grid grid = judge.grid();
  const std::vector<AttentionSetting> all = settings_to_try(grid);
  const std::vector<AttentionSetting> settings =
      with_dense_steps(worth_trying(all, heads), judge.num_steps());
  Progress progress("settings", static_cast<std::int64_t>(settings.size()), quiet);
  Suggestion suggestion;
  for (const AttentionSetting& setting : settings) {
    check_not_interrupted();
    std::int64_t videos = 0;
    const double lowest = judge.lowest_psnr(evaluation::attention_by(setting.method, grid),
                                            setting.dense_steps, psnr, videos);
    const std::string name = setting.name();
    suggestion.tried.push_back({{"setting", name},
                                {"cost", setting.cost},
                                {"error", setting.error},
                                {"psnr", std::isfinite(lowest) ? Json(lowest) : Json()},
                                {"videos", videos}});
    progress.advance(static_cast<std::int64_t>(suggestion.tried.size()));
    if (lowest < psnr) continue;
    progress.finish();
    suggestion.text =
        str_cat(name, ": at least ", tenths(lowest), " dB PSNR in ",
                videos == 1 ? "the video" : str_cat("each of ", videos, " videos"),
                " against dense attention's (asked for: ", psnr, "), with ",
                tenths(100 * setting.cost), " % of the operations of dense attention");
    suggestion.yaml = as_yaml(setting, suggestion.text);
    return suggestion;
  }
  progress.finish();
  suggestion.text =
      str_cat("dense: none of ", settings.size(), " settings reaches ", psnr,
              " dB PSNR against the videos of dense attention (tried: of ", all.size(),
              " Monarch settings some that are nearer to dense attention than all cheaper ones, "
              "for all steps or after some dense ones)");
  suggestion.yaml = as_yaml({}, suggestion.text);
  return suggestion;
}

}  // namespace monarch::apps
