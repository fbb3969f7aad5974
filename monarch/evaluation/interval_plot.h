// Values with intervals, as an SVG file readable in light and dark.
#pragma once

#include <string>
#include <vector>

namespace monarch::evaluation {

struct IntervalPoint {
  double value = 0;          // NaN: none
  double low = 0, high = 0;  // NaN: no interval
};

struct IntervalRow {
  std::string label;
  std::vector<IntervalPoint> points = {};  // one a series
};

struct IntervalPlot {
  std::string title, x;
  std::vector<std::string> series = {};  // five at most
  std::vector<IntervalRow> rows = {};
  double low = 0, high = 1;  // of the axis
};

// A row for each label from top to bottom, its points one below the other, each on a line from low
// to high.
std::string interval_svg(const IntervalPlot& plot);

}  // namespace monarch::evaluation
