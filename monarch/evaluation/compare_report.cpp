#include "monarch/evaluation/compare_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <sstream>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/evaluation/compare_html.h"
#include "monarch/evaluation/compare_plot.h"
#include "monarch/evaluation/comparison.h"

namespace monarch::evaluation {
namespace {

// Families in the order of their colours.
constexpr std::array<const char*, kPlotSeries> kFamilies = {
    "monarchrt",          "vmonarch",        "oracle top-k",   "radial",
    "sliding tile",       "sparse videogen", "coarse-to-fine", "monarchrt misaligned",
    "vmonarch misaligned"};

// One series a family; a method without `key` is left out. Sparsity in percent.
std::vector<PlotSeries> series_of(const Json& methods, const char* key) {
  std::vector<PlotSeries> series;
  for (const char* family : kFamilies) {
    PlotSeries one{.name = family, .line = std::string(family) == "oracle top-k"};
    for (const Json& method : methods) {
      // Some windows see all of a small video: that is dense attention.
      if (method["family"] == family && method.contains(key) && method[key].is_number() &&
          method["sparsity"] > 1e-3)
        one.points.push_back({100 * method["sparsity"].get<double>(), method[key].get<double>(),
                              method["name"].get<std::string>()});
    }
    series.push_back(one);
  }
  return series;
}

// The error of the oracle that is as sparse; NaN where there is none.
double oracle_error(const Json& methods, double sparsity) {
  for (const Json& method : methods) {
    if (method["family"] == "oracle top-k" &&
        std::abs(method["settings"]["keep"].get<double>() - oracle_keep(sparsity)) < 1e-9)
      return method["output_error"].get<double>();
  }
  return std::numeric_limits<double>::quiet_NaN();
}

std::vector<PlotBar> monarch_bars(const Json& methods) {
  std::vector<PlotBar> bars;
  for (std::size_t series = 0; series < kFamilies.size(); ++series) {
    const std::string family = kFamilies[series];
    if (family.find("monarch") == std::string::npos) continue;
    for (const Json& method : methods) {
      if (method["family"] != family) continue;
      const auto sparsity = method["sparsity"].get<double>();
      bars.push_back({.label = str_cat(family, " ", method["name"].get<std::string>(), " \xC2\xB7 ",
                                       std::round(1000 * sparsity) / 10, " %"),
                      .series = series,
                      .value = method["output_error"].get<double>(),
                      .mark = oracle_error(methods, sparsity)});
    }
  }
  return bars;
}

void write_legend(std::ostream& out, const Json& methods) {
  out << "<p class=\"legend\">";
  for (std::size_t i = 0; i < kFamilies.size(); ++i) {
    const bool used = std::any_of(methods.begin(), methods.end(), [&](const Json& method) {
      return method["family"] == kFamilies[i];
    });
    if (used) out << "<span>" << marker_svg(i) << kFamilies[i] << "</span>";
  }
  out << "</p>\n";
}

void write_pictures(std::ostream& out, const std::string& source,
                    std::span<const ReportPicture> pictures) {
  out << "<h3>Attention maps of one head: tokens of the middle frame, queries downwards, keys to "
         "the right</h3>\n<div class=\"maps\">\n";
  for (const ReportPicture& picture : pictures) {
    if (picture.source != source) continue;
    out << "<figure><img alt=\"attention map, " << escape_html(picture.title)
        << "\" src=\"data:image/png;base64," << base64(picture.png) << "\"><figcaption>"
        << escape_html(picture.title) << "</figcaption></figure>\n";
  }
  out << "</div>\n";
}

// Rows are layers, columns timesteps.
void write_layers(std::ostream& out, const Json& by_layer) {
  out << "<h3>" << html_text(by_layer, "method") << " by layer and timestep: relative error of the "
      << "output (" << html_text(by_layer, "oracle") << ")</h3>\n<div class=\"scroll\"><table><tr>"
      << "<th>layer</th>";
  for (const Json& timestep : by_layer["timesteps"])
    out << "<th class=\"n\">t = " << std::lround(timestep.get<double>()) << "</th>";
  out << "</tr>\n";
  for (const Json& row : by_layer["layers"]) {
    out << "<tr><td>" << row["layer"] << "</td>";
    for (const Json& cell : row["errors"]) {
      out << "<td class=\"n\">";
      if (cell.is_array())
        out << fixed_digits(cell[0], 3) << " (" << fixed_digits(cell[1], 3) << ")";
      out << "</td>";
    }
    out << "</tr>\n";
  }
  out << "</table></div>\n";
}

void write_source(std::ostream& out, const Json& source, std::span<const ReportPicture> pictures) {
  const Json& methods = source["methods"];
  const auto count = [&](const char* key, const char* things) {
    const auto number = source[key].get<std::int64_t>();
    return str_cat(number, " ", things, number == 1 ? "" : "s");
  };
  out << "<h2>" << html_text(source, "name") << "</h2>\n<p class=\"about\">"
      << html_text(source, "about") << ' ' << count("heads", "head") << ", tokens of "
      << source["grid"][0] << " frames of " << source["grid"][1] << "x" << source["grid"][2] << "; "
      << source["queries_per_head"] << " queries of each head are measured.</p>\n";
  write_legend(out, methods);
  out << "<div class=\"plots\">\n"
      << scatter_svg({.title = "Error of the attention output",
                      .x = "sparsity, %",
                      .y = "relative error",
                      .log_y = true},
                     series_of(methods, "output_error"))
      << scatter_svg({.title = "Error of the attention map",
                      .x = "sparsity, %",
                      .y = "relative error (Frobenius)",
                      .log_y = true},
                     series_of(methods, "map_error"))
      << "</div>\n"
      << bars_svg(
             {.title =
                  "Monarch by setting and sparsity; lines across: the oracle at the same sparsity",
              .x = "relative error of the output"},
             monarch_bars(methods));
  write_pictures(out, source["name"], pictures);
  if (source.contains("by_layer")) write_layers(out, source["by_layer"]);
  out << "<details><summary>All numbers</summary>\n";
  write_table(out, methods,
              {{"family", "method"},
               {"name", "setting"},
               {"sparsity", "sparsity, %", 1, 100},
               {"map_error", "map error", 4},
               {"misplaced", "misplaced weight", 4},
               {"output_error", "output error", 4},
               {"worst_output_error", "worst head", 4}});
  out << "</details>\n";
}

void write_end_quality(std::ostream& out, const Json& quality) {
  const Json& methods = quality["methods"];
  out << "<h2>End quality</h2>\n<p class=\"about\">" << html_text(quality, "model") << ", "
      << quality["videos"]
      << " videos a method. PSNR and SSIM compare with the videos of dense attention from the same "
         "noise. A method takes the place of dense attention in every layer, head and step.</p>\n";
  write_legend(out, methods);
  out << "<div class=\"plots\">\n";
  for (const auto& [key, name] : {std::pair{"psnr", "PSNR, dB"}, {"ssim", "SSIM"}}) {
    out << scatter_svg(
        {.title = "Videos against those of dense attention", .x = "sparsity, %", .y = name},
        series_of(methods, key));
  }
  out << "</div>\n";
  write_table(out, methods,
              {{"family", "method"},
               {"name", "setting"},
               {"sparsity", "sparsity, %", 1, 100},
               {"psnr", "PSNR, dB", 2},
               {"ssim", "SSIM", 3},
               {"color_percent", "colour right, %", 0},
               {"shape_percent", "shape right, %", 0},
               {"motion_percent", "motion right, %", 0}});
}

void write_suggestion(std::ostream& out, const Json& suggestion) {
  out << "<h2>Suggested setting</h2>\n<p class=\"about\">" << html_text(suggestion, "text")
      << ".</p>\n<h3>Settings tried, cheapest first</h3>\n";
  write_table(out, suggestion["tried"],
              {{"setting", "setting"},
               {"cost", "operations, % of dense", 1, 100},
               {"error", "output error on captured heads", 4},
               {"psnr", "lowest PSNR, dB", 2},
               {"videos", "videos made", 0}});
}

}  // namespace

std::string compare_report(const Json& comparison, std::span<const ReportPicture> pictures) {
  std::ostringstream out;
  out << "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
         "<meta name=\"viewport\" content=\"width=device-width\">"
         "<title>Monarch attention compared</title>\n"
      << kCompareStyle << "</head><body>\n<h1>Monarch attention compared</h1>\n"
      << "<p class=\"about\">Attention maps of whole videos, approximated by Monarch matrices and "
         "by sparse masks, against dense attention.</p>\n"
         "<p class=\"soft\">Sparsity is the share of the dense map's numbers that a method does "
         "without: for masks 1 \xE2\x88\x92 kept/N\xC2\xB2, for Monarch 1 \xE2\x88\x92 (numbers in "
         "the factors)/N\xC2\xB2. Masks hide single tokens, where published kernels hide whole "
         "blocks, so the sparse methods are shown at their best. The oracle chooses the largest "
         "weights of the dense map, which no fast method can know. Settings of monarchrt are "
         "frames tied x bands of rows x bands of columns; those of vmonarch say which axes are "
         "the rows of the factors and which their columns. Nothing is trained for this "
         "comparison.</p>\n";
  if (const Json claims = comparison.value("claims", Json::array()); !claims.empty()) {
    out << "<h2>What the papers claim, and what is seen here</h2>\n"
           "<p class=\"soft\">Verdicts are computed from the numbers below: a claim holds if every "
           "pair of settings that tests it agrees by more than 1 % of the error, and in part if "
           "some do. Errors are relative and averaged over the heads.</p>\n";
    write_claims(out, claims);
  }
  for (const Json& source : comparison.value("sources", Json::array()))
    write_source(out, source, pictures);
  if (comparison.contains("end_quality")) write_end_quality(out, comparison["end_quality"]);
  if (comparison.contains("suggestion")) write_suggestion(out, comparison["suggestion"]);
  out << "</body></html>\n";
  return out.str();
}

}  // namespace monarch::evaluation
