// Plots as inline SVG. Colours are CSS variables, so that a page can have one set for light and one
// for dark; series also differ in shape.
#pragma once

#include <string>
#include <vector>

namespace monarch::evaluation {

struct PlotPoint {
  double x = 0, y = 0;
  std::string label;  // shown when pointed at
};

struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points = {};
  bool line = false;  // joins the points from left to right
};

struct PlotAxes {
  std::string title, x, y = {};
  // Decades; what is below `floor` is drawn there, and its tick says so.
  bool log_y = false;
  double floor = 1e-3;
};

inline constexpr std::size_t kPlotSeries = 9;

// Series take --series-0, --series-1, ... of the page in turn; text and grid take currentColor.
// Points that are not finite are left out. Without points the result says so.
std::string scatter_svg(const PlotAxes& axes, const std::vector<PlotSeries>& series);

struct PlotFigure {
  PlotAxes axes;
  std::vector<PlotSeries> series;
};

// The plots one below the other, each with its legend, as an SVG file of its own, readable in light
// and dark. Five series at most.
std::string figures_svg(const std::vector<PlotFigure>& figures);

struct PlotBar {
  std::string label;
  std::size_t series = 0;  // whose colour it has
  double value = 0;
  double mark = 0;  // a line across the bar; NaN: none
};

// Bars to the right, one below the other, of values >= 0.
std::string bars_svg(const PlotAxes& axes, const std::vector<PlotBar>& bars);

// The shape that points of a series have, alone: for legends.
std::string marker_svg(std::size_t series);

// Text with &, <, > and " written so that HTML and SVG show them.
std::string escape_html(const std::string& text);

}  // namespace monarch::evaluation
