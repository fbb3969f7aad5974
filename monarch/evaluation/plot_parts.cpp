#include "monarch/evaluation/plot_parts.h"

#include <array>
#include <cmath>
#include <ostream>
#include <sstream>

#include "monarch/base/error.h"
#include "monarch/evaluation/compare_plot.h"

namespace monarch::evaluation {
namespace {

constexpr const char* kFileStyle = R"(<style>
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --rule: #d8dee4;
  --series-0: #1b1f24; --series-1: #0b62c4; --series-2: #b25e00; --series-3: #2e7d32; --series-4: #c2185b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --rule: #2b323b;
  --series-0: #e6edf3; --series-1: #58a6ff; --series-2: #f0a146; --series-3: #56d364; --series-4: #ff7eb0; } }
text { fill: var(--ink); font: 12px system-ui, sans-serif; } .title { font-size: 14px; font-weight: 600; }
.grid { stroke: var(--rule); fill: none; } rect { fill: var(--paper); }
</style>
)";

}  // namespace

double PlotScale::operator()(double v) const {
  const auto value = [this](double one) { return log ? std::log10(one) : one; };
  const double a = value(low), b = value(high);
  return from + (to - from) * (value(v) - a) / (b - a);
}

std::vector<double> PlotScale::ticks() const {
  std::vector<double> at;
  if (log) {
    for (double decade = std::pow(10, std::floor(std::log10(low))); decade <= high; decade *= 10) {
      for (const double step : {1.0, 2.0, 5.0}) {
        if (decade * step >= low * 0.999 && decade * step <= high * 1.001)
          at.push_back(decade * step);
      }
    }
    // Several decades: the powers of ten alone.
    if (at.size() > 8)
      std::erase_if(at, [](double v) {
        const double l = std::log10(v);
        return std::abs(l - std::round(l)) > 1e-6;
      });
    return at;
  }
  const double raw = (high - low) / 6;
  const double decade = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * decade;
  for (const double multiple : {1.0, 2.0, 5.0}) {
    if (decade * multiple >= raw) {
      step = decade * multiple;
      break;
    }
  }
  for (double v = std::ceil(low / step) * step; v <= high + 1e-9 * step; v += step) at.push_back(v);
  return at;
}

void draw_x_axis(std::ostream& out, const PlotScale& x, double top, double bottom) {
  for (const double tick : x.ticks()) {
    out << "<path class=\"grid\" d=\"M" << x(tick) << ' ' << top << 'V' << bottom
        << "\"/><text text-anchor=\"middle\" x=\"" << x(tick) << "\" y=\"" << bottom + 16 << "\">"
        << plot_number(tick) << "</text>\n";
  }
}

std::string plot_paint(std::size_t series) {
  return "var(--series-" + std::to_string(series % kPlotSeries) + ")";
}

bool plot_hollow(std::size_t series) { return series % kPlotSeries + 2 >= kPlotSeries; }

std::string plot_marker(std::size_t series) {
  static constexpr const char* kCircle = "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z";
  static constexpr const char* kDiamond = "M0 -6L6 0L0 6L-6 0z";
  static constexpr std::array<const char*, kPlotSeries> kShapes = {
      kCircle,
      kDiamond,
      "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z",
      "M-4 -4H4V4H-4z",
      "M0 -5.5L5.5 4.5H-5.5z",
      "M0 5.5L5.5 -4.5H-5.5z",
      "M-5 -1.7H-1.7V-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5z",
      kCircle,
      kDiamond};
  const std::size_t at = series % kPlotSeries;
  const std::string color = plot_paint(series);
  return str_cat("d=\"", kShapes[at], "\" ",
                 !plot_hollow(at) ? "fill=\"" + color + "\""
                                  : "fill=\"none\" stroke-width=\"2\" stroke=\"" + color + "\"");
}

std::string plot_number(double value) {
  std::ostringstream out;
  out.precision(4);
  out << (std::abs(value) < 1e-12 ? 0 : value);
  return out.str();
}

std::string plot_file_begin(double width, double height) {
  return str_cat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", width, "\" height=\"",
                 height, "\" viewBox=\"0 0 ", width, ' ', height, "\">\n", kFileStyle,
                 "<rect width=\"100%\" height=\"100%\"/>\n");
}

}  // namespace monarch::evaluation
