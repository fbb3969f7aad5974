#include "monarch/evaluation/suite_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iomanip>
#include <limits>
#include <sstream>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/evaluation/compare_html.h"
#include "monarch/evaluation/interval_plot.h"

namespace monarch::evaluation {
namespace {

struct NamedAttribute {
  const char* key;
  const char* title;
  Attribute attribute;
};
constexpr std::array<NamedAttribute, 4> kAttributes{{{"color", "colour", Attribute::kColor},
                                                     {"shape", "shape", Attribute::kShape},
                                                     {"motion", "motion", Attribute::kMotion},
                                                     {"all", "all three", Attribute::kAll}}};

Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json percent(const Estimate& estimate, const char* name) {
  return {{name, 100 * estimate.value},
          {"low", finite(100 * estimate.low)},
          {"high", finite(100 * estimate.high)}};
}

Json accuracies(std::span<const VideoScore> videos) {
  std::int64_t shapes = 0;
  for (const VideoScore& video : videos) shapes += video.tally.shapes;
  Json json{{"shapes", shapes}};
  for (const NamedAttribute& one : kAttributes)
    json[one.key] = percent(accuracy(videos, one.attribute), "percent");
  return json;
}

// Mean and standard deviation of a sample; nothing for none.
Json spread(const std::vector<double>& values) {
  if (values.empty()) return {};
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  const double mean = sum / static_cast<double>(values.size());
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double deviation =
      values.size() > 1 ? std::sqrt(squares / static_cast<double>(values.size() - 1)) : 0;
  return {{"mean", mean}, {"deviation", deviation}};
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double number_or_nan(const Json& json) {
  return json.is_number() ? json.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

bool measured(const Json& entry) {
  return entry.contains("summary") && entry["summary"]["videos"] > 0;
}

std::string name_of(const Json& entry) {
  std::string name = entry["name"].get<std::string>();
  if (!entry["about"].get<std::string>().empty()) name += ": " + entry["about"].get<std::string>();
  return name;
}

// The beginning of a row; the rest of it where there are no numbers.
std::string row_begin(const Json& entry) {
  std::string row = "| " + name_of(entry);
  if (measured(entry) && !entry["complete"].get<bool>())
    row += str_cat(" (", entry["summary"]["videos"].get<std::int64_t>(), " videos so far)");
  return row + " |";
}

std::string unmeasured(const Json& entry, std::size_t columns) {
  std::string row = " not measured";
  if (entry.contains("missing")) row += ": there is no " + entry["missing"].get<std::string>();
  row += " |";
  for (std::size_t i = 1; i < columns; ++i) row += " |";
  return row + '\n';
}

// "-1.2 (-3.0 to 0.6)"
std::string with_interval(const Json& estimate, const char* key) {
  std::string text = fixed_digits(estimate[key].get<double>(), 1);
  if (estimate["low"].is_number()) {
    text += " (" + fixed_digits(estimate["low"].get<double>(), 1) + " to " +
            fixed_digits(estimate["high"].get<double>(), 1) + ')';
  }
  return text;
}

std::string with_deviation(const Json& spread, int digits) {
  if (spread.is_null()) return "";
  return fixed_digits(spread["mean"].get<double>(), digits) + " ± " +
         fixed_digits(spread["deviation"].get<double>(), digits);
}

void accuracy_table(std::ostream& out, const Json& entries) {
  out << "| Percent of shapes | sparsity | one shape: colour | shape | motion | all three "
         "| two shapes: colour | shape | motion | all three |\n"
         "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const Json& entry : entries) {
    out << row_begin(entry);
    if (!measured(entry)) {
      out << unmeasured(entry, 9);
      continue;
    }
    out << ' ' << fixed_digits(100 * entry["sparsity"].get<double>(), 1) << " % |";
    for (const char* captions : {"one_shape", "two_shapes"}) {
      const Json& group = entry["summary"][captions];
      for (const NamedAttribute& one : kAttributes) {
        out << ' ';
        if (group["shapes"] > 0) out << fixed_digits(group[one.key]["percent"].get<double>(), 1);
        out << " |";
      }
    }
    out << '\n';
  }
}

void difference_table(std::ostream& out, const Json& entries) {
  out << "| Points more than the reference (95 % interval) | reference | colour | shape | motion "
         "| all three | PSNR, dB | SSIM |\n"
         "|---|---|---:|---:|---:|---:|---:|---:|\n";
  for (const Json& entry : entries) {
    const auto reference = entry["reference"].get<std::string>();
    if (reference.empty()) continue;
    out << row_begin(entry);
    if (!measured(entry) || !entry["summary"].contains("difference")) {
      out << unmeasured(entry, 7);
      continue;
    }
    const Json& summary = entry["summary"];
    out << ' ' << reference << " |";
    for (const NamedAttribute& one : kAttributes)
      out << ' ' << with_interval(summary["difference"][one.key], "points") << " |";
    out << ' ' << with_deviation(summary["psnr"], 1) << " | " << with_deviation(summary["ssim"], 3)
        << " |\n";
  }
}

void cost_table(std::ostream& out, const Json& entries) {
  out << "| | outlines | seconds a video | wall time, s |\n|---|---:|---:|---:|\n";
  for (const Json& entry : entries) {
    out << row_begin(entry);
    if (!measured(entry)) {
      out << unmeasured(entry, 3);
      continue;
    }
    const Json& summary = entry["summary"];
    out << ' ' << fixed_digits(summary["overlap"].get<double>(), 3) << " | "
        << fixed_digits(summary["seconds"].get<double>(), 2) << " | "
        << fixed_digits(entry["wall_seconds"].get<double>(), 0) << " |\n";
  }
}

}  // namespace

Json summarize(std::span<const VideoScore> videos, std::span<const VideoScore> reference) {
  std::vector<double> psnr, ssim, seconds;
  std::int64_t identical = 0;
  double overlap = 0;
  for (const VideoScore& video : videos) {
    seconds.push_back(video.seconds);
    overlap += video.overlap / static_cast<double>(videos.size());
    if (video.ssim) ssim.push_back(*video.ssim);
    if (video.psnr) psnr.push_back(*video.psnr);
    if (video.ssim && !video.psnr) ++identical;
  }
  Json json{{"videos", videos.size()},
            {"one_shape", accuracies(with_shapes(videos, 1))},
            {"two_shapes", accuracies(with_shapes(videos, 2))},
            {"every", accuracies(videos)},
            {"overlap", overlap},
            {"seconds", median(std::move(seconds))}};
  if (reference.empty()) return json;
  for (const NamedAttribute& one : kAttributes)
    json["difference"][one.key] =
        percent(accuracy_difference(videos, reference, one.attribute), "points");
  json["psnr"] = spread(psnr);
  json["ssim"] = spread(ssim);
  json["identical"] = identical;
  return json;
}

std::string suite_markdown(const Json& results) {
  std::int64_t two = 0;
  for (const Json& caption : results["captions"]) two += caption["shapes"] == 2 ? 1 : 0;
  std::ostringstream out;
  out << results["captions"].size() << " held-out captions, " << two
      << " of them of two shapes; noises: " << results["seeds"] << "; seed " << results["seed"]
      << ".\n\n";
  accuracy_table(out, results["entries"]);
  out << '\n';
  difference_table(out, results["entries"]);
  out << '\n';
  cost_table(out, results["entries"]);
  return out.str();
}

std::string suite_svg(const Json& results) {
  IntervalPlot plot{.title = "Captions kept",
                    .x = "percent of all shapes, 95 % intervals",
                    .low = 0,
                    .high = 100};
  for (const NamedAttribute& one : kAttributes) plot.series.emplace_back(one.title);
  for (const Json& entry : results["entries"]) {
    if (!measured(entry)) continue;
    IntervalRow row{.label = entry["name"].get<std::string>()};
    for (const NamedAttribute& one : kAttributes) {
      const Json& estimate = entry["summary"]["every"][one.key];
      row.points.push_back({number_or_nan(estimate["percent"]), number_or_nan(estimate["low"]),
                            number_or_nan(estimate["high"])});
    }
    plot.rows.push_back(row);
  }
  return interval_svg(plot);
}

}  // namespace monarch::evaluation
