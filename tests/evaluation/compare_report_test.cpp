#include "monarch/evaluation/compare_report.h"

#include <gtest/gtest.h>

#include <limits>

#include "monarch/evaluation/compare_plot.h"

namespace monarch::evaluation {
namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

TEST(ScatterSvg, DrawsEveryFinitePoint) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string svg =
      scatter_svg({.title = "a < b", .x = "x", .y = "y", .log_y = true},
                  {{.name = "one", .points = {{1, 0.1, "p"}, {2, 0, "exact"}, {3, nan, "none"}}},
                   {.name = "two", .points = {{1, 1, "q"}, {5, 10, "r"}}, .line = true}});
  EXPECT_EQ(count(svg, "class=\"point\""), 4U);
  EXPECT_NE(svg.find("\xE2\x89\xA4 0.001"), std::string::npos);  // where the exact one is drawn
  EXPECT_EQ(count(svg, "<polyline"), 1U);
  EXPECT_NE(svg.find("a &lt; b"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(ScatterSvg, OnePointOrNone) {
  EXPECT_EQ(count(scatter_svg({.title = "t", .x = "x", .y = "y"},
                              {{.name = "one", .points = {{1, 1, "p"}}}}),
                  "class=\"point\""),
            1U);
  EXPECT_NE(scatter_svg({.title = "t", .x = "x", .y = "y"}, {}).find("Nothing to plot"),
            std::string::npos);
}

TEST(BarsSvg, DrawsBarsAndMarks) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string svg = bars_svg(
      {.title = "t", .x = "x"},
      {{.label = "a < b", .value = 0.5, .mark = 1}, {.label = "c", .value = 2, .mark = nan}});
  EXPECT_EQ(count(svg, "class=\"bar\""), 2U);
  EXPECT_EQ(count(svg, "class=\"mark\""), 1U);
  EXPECT_NE(svg.find("a &lt; b"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_NE(bars_svg({.title = "t", .x = "x"}, {}).find("Nothing to plot"), std::string::npos);
}

TEST(CompareReport, HoldsEverythingInOneFile) {
  const Json comparison = Json::parse(R"json({
    "sources": [{"name": "synthetic", "grid": [3, 4, 5], "heads": 1, "queries_per_head": 60,
                 "methods": [{"family": "monarchrt", "name": "1x1x1", "sparsity": 0.8,
                              "map_error": 0.5, "misplaced": 0.25, "output_error": 0.125,
                              "worst_output_error": 0.5},
                             {"family": "oracle top-k", "name": "20 % of the keys",
                              "settings": {"keep": 0.2}, "sparsity": 0.8, "map_error": 0.5,
                              "misplaced": 0.25, "output_error": 0.25,
                              "worst_output_error": 0.5}]}],
    "claims": [{"source": "synthetic", "statement": "S <1>", "verdict": "does not hold",
                "evidence": "E"}],
    "suggestion": {"text": "T", "tried": [{"setting": "monarchrt 1x1x1", "cost": 0.25,
                                           "error": 0.5, "psnr": null, "videos": 1}]}})json");
  const ReportPicture picture{"synthetic", "dense", "Man"};
  const std::string html = compare_report(comparison, {&picture, 1});
  EXPECT_NE(html.find("data:image/png;base64,TWFu\""), std::string::npos);
  EXPECT_NE(html.find("<span class=\"chip no\">does not hold</span>"), std::string::npos);
  EXPECT_NE(html.find("S &lt;1&gt;"), std::string::npos);
  EXPECT_NE(html.find("prefers-color-scheme: dark"), std::string::npos);
  EXPECT_EQ(count(html, "class=\"point\""), 4U);
  EXPECT_EQ(count(html, "class=\"bar\""), 1U);
  EXPECT_EQ(count(html, "class=\"mark\""), 1U);  // the oracle as sparse
  EXPECT_NE(html.find("<td class=\"n\">25.0</td>"), std::string::npos);
  EXPECT_NE(html.find("0.1250"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos);  // nothing is fetched
  EXPECT_EQ(html.find("End quality"), std::string::npos);
}

TEST(CompareReport, PadsBase64) {
  const Json comparison = Json::parse(R"json({
    "sources": [{"name": "s", "grid": [1, 1, 1], "heads": 1, "queries_per_head": 1,
                 "methods": []}]})json");
  for (const auto& [bytes, text] : {std::pair{"M", "TQ=="}, {"Ma", "TWE="}, {"ManM", "TWFuTQ=="}}) {
    const ReportPicture picture{"s", "t", bytes};
    EXPECT_NE(compare_report(comparison, {&picture, 1}).find(std::string("base64,") + text + "\""),
              std::string::npos)
        << text;
  }
}

}  // namespace
}  // namespace monarch::evaluation
