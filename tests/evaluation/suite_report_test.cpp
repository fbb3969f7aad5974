#include "monarch/evaluation/suite_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace monarch::evaluation {
namespace {

VideoScore scored(std::int64_t caption, std::int64_t hits, std::optional<double> psnr) {
  const std::int64_t shapes = caption < 2 ? 1 : 2;
  return {.caption = caption,
          .tally = {.shapes = shapes, .color = shapes, .all = hits},
          .overlap = 0.5,
          .seconds = static_cast<double>(caption),
          .psnr = psnr,
          .ssim = psnr ? 0.5 : 1};
}

TEST(SuiteReport, SummarizesKnownNumbers) {
  const std::vector<VideoScore> mine{scored(0, 1, 20), scored(1, 0, 24), scored(2, 1, {})};
  const std::vector<VideoScore> reference{scored(0, 1, {}), scored(1, 1, {}), scored(2, 2, {})};
  const Json summary = summarize(mine, reference);
  EXPECT_EQ(summary["videos"], 3);
  EXPECT_EQ(summary["every"]["shapes"], 4);
  EXPECT_EQ(summary["every"]["color"]["percent"], 100);
  EXPECT_EQ(summary["one_shape"]["all"]["percent"], 50);
  EXPECT_EQ(summary["two_shapes"]["all"]["percent"], 50);
  EXPECT_TRUE(summary["two_shapes"]["all"]["low"].is_null());  // one caption
  EXPECT_EQ(summary["difference"]["all"]["points"], -50);
  EXPECT_EQ(summary["psnr"]["mean"], 22);
  EXPECT_NEAR(summary["psnr"]["deviation"].get<double>(), std::sqrt(8), 1e-12);
  EXPECT_EQ(summary["identical"], 1);
  EXPECT_EQ(summary["seconds"], 1);
  EXPECT_FALSE(summarize(mine, {}).contains("difference"));
}

Json results() {
  const std::vector<VideoScore> reference{scored(0, 1, {}), scored(1, 1, {}), scored(2, 2, {})};
  const std::vector<VideoScore> mine{scored(0, 1, 20), scored(1, 0, 24)};
  Json json{{"captions", Json::array()}, {"seeds", 1}, {"seed", 0}};
  for (const int shapes : {1, 1, 2}) json["captions"].push_back({{"shapes", shapes}});
  json["entries"].push_back({{"name", "dense"},
                             {"about", "the <reference>"},
                             {"reference", ""},
                             {"sparsity", 0},
                             {"complete", true},
                             {"wall_seconds", 12.4},
                             {"summary", summarize(reference, {})}});
  json["entries"].push_back({{"name", "sparse"},
                             {"about", ""},
                             {"reference", "dense"},
                             {"sparsity", 0.875},
                             {"complete", false},
                             {"wall_seconds", 7},
                             {"summary", summarize(mine, reference)}});
  json["entries"].push_back({{"name", "student"},
                             {"about", "trained"},
                             {"reference", "dense"},
                             {"missing", "logs/student"}});
  return json;
}

TEST(SuiteReport, WritesTables) {
  const std::string text = suite_markdown(results());
  EXPECT_NE(text.find("3 held-out captions, 1 of them of two shapes; noises: 1; seed 0."),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("| dense: the <reference> | 0.0 % | 100.0 | 0.0 | 0.0 | 100.0 | 100.0 |"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("| sparse (2 videos so far) | dense | 0.0 (0.0 to 0.0) |"), std::string::npos)
      << text;
  EXPECT_NE(text.find("-50.0 (-100.0 to 0.0) | 22.0 ± 2.8 | 0.500 ± 0.000 |"), std::string::npos)
      << text;
  EXPECT_NE(text.find("| student: trained | not measured: there is no logs/student |"),
            std::string::npos)
      << text;
  // Every row of a table has as many cells as its head.
  std::istringstream lines(text);
  std::ptrdiff_t cells = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto bars = std::count(line.begin(), line.end(), '|');
    if (cells > 0 && bars > 0) {
      EXPECT_EQ(bars, cells) << line;
    }
    cells = bars;
  }
}

TEST(SuiteReport, DrawsWhatIsMeasured) {
  const std::string svg = suite_svg(results());
  EXPECT_TRUE(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_NE(svg.find("prefers-color-scheme: dark"), std::string::npos);
  std::size_t values = 0;
  for (std::size_t at = svg.find("class=\"value\""); at != std::string::npos;
       at = svg.find("class=\"value\"", at + 1))
    ++values;
  EXPECT_EQ(values, 8U);
  EXPECT_NE(svg.find("sparse, all three: 50"), std::string::npos);
  EXPECT_EQ(svg.find("student"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

}  // namespace
}  // namespace monarch::evaluation
