#include "monarch/evaluation/interval_plot.h"

#include <cmath>
#include <sstream>

#include "monarch/evaluation/compare_plot.h"
#include "monarch/evaluation/plot_parts.h"

namespace monarch::evaluation {
namespace {

constexpr double kIntervalsWidth = 900, kIntervalsLabels = 330, kIntervalsRight = 24,
                 kIntervalsTop = 56, kIntervalsBottom = 44;
constexpr double kLine = 13, kRowGap = 12;

void draw_point(std::ostream& out, const IntervalPoint& point, const std::string& name,
                std::size_t series, const PlotScale& x, double y) {
  if (!std::isfinite(point.value)) return;
  out << "<g class=\"value\"><title>" << escape_html(name) << ": " << plot_number(point.value);
  const bool interval = std::isfinite(point.low) && std::isfinite(point.high);
  if (interval) out << " (" << plot_number(point.low) << " to " << plot_number(point.high) << ')';
  out << "</title>";
  if (interval) {
    out << "<path stroke-width=\"2\" stroke=\"" << plot_paint(series) << "\" d=\"M" << x(point.low)
        << ' ' << y << 'H' << x(point.high) << "\"/>";
  }
  out << "<path " << plot_marker(series) << " transform=\"translate(" << x(point.value) << ' ' << y
      << ")\"/></g>\n";
}

}  // namespace

std::string interval_svg(const IntervalPlot& plot) {
  const double row = kLine * static_cast<double>(plot.series.size()) + kRowGap;
  const double bottom = kIntervalsTop + row * static_cast<double>(plot.rows.size());
  const PlotScale x{plot.low, plot.high, kIntervalsLabels, kIntervalsWidth - kIntervalsRight,
                    false};
  std::ostringstream out;
  out.precision(6);
  out << plot_file_begin(kIntervalsWidth, bottom + kIntervalsBottom);
  out << "<text class=\"title\" x=\"8\" y=\"20\">" << escape_html(plot.title) << "</text>\n";
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    const double at = kIntervalsLabels + 130 * static_cast<double>(i);
    out << "<path " << plot_marker(i) << " transform=\"translate(" << at + 6 << " 40)\"/><text x=\""
        << at + 18 << "\" y=\"44\">" << escape_html(plot.series[i]) << "</text>\n";
  }
  draw_x_axis(out, x, kIntervalsTop, bottom);
  double top = kIntervalsTop;
  for (const IntervalRow& one : plot.rows) {
    out << "<path class=\"grid\" d=\"M8 " << top << 'H' << kIntervalsWidth - kIntervalsRight
        << "\"/><text text-anchor=\"end\" x=\"" << kIntervalsLabels - 12 << "\" y=\""
        << top + row / 2 + 4 << "\">" << escape_html(one.label) << "</text>\n";
    for (std::size_t i = 0; i < one.points.size(); ++i) {
      draw_point(out, one.points[i], one.label + ", " + plot.series[i], i, x,
                 top + kRowGap / 2 + kLine * (static_cast<double>(i) + 0.5));
    }
    top += row;
  }
  out << "<text text-anchor=\"middle\" x=\""
      << (kIntervalsLabels + kIntervalsWidth - kIntervalsRight) / 2 << "\" y=\"" << bottom + 34
      << "\">" << escape_html(plot.x) << "</text>\n</svg>\n";
  return out.str();
}

}  // namespace monarch::evaluation
