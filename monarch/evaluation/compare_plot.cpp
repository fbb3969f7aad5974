#include "monarch/evaluation/compare_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "monarch/base/error.h"
#include "monarch/evaluation/plot_parts.h"

namespace monarch::evaluation {
namespace {

constexpr double kWidth = 560, kHeight = 340, kLeft = 64, kRight = 16, kTop = 28, kBottom = 44;

bool drawable(const PlotPoint& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;

  void add(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  bool empty() const { return low > high; }
};

void draw_axes(std::ostream& out, const PlotAxes& axes, const PlotScale& x, const PlotScale& y) {
  draw_x_axis(out, x, kTop, kHeight - kBottom);
  for (const double tick : y.ticks()) {
    const bool floor = y.log && tick <= axes.floor * 1.001;
    out << "<path class=\"grid\" d=\"M" << kLeft << ' ' << y(tick) << 'H' << kWidth - kRight
        << "\"/><text text-anchor=\"end\" x=\"" << kLeft - 6 << "\" y=\"" << y(tick) + 4 << "\">"
        << (floor ? "\xE2\x89\xA4 " : "") << plot_number(tick) << "</text>\n";
  }
  out << "<text class=\"title\" x=\"" << kLeft << "\" y=\"16\">" << escape_html(axes.title)
      << "</text><text text-anchor=\"middle\" x=\"" << (kLeft + kWidth - kRight) / 2 << "\" y=\""
      << kHeight - 8 << "\">" << escape_html(axes.x)
      << "</text><text text-anchor=\"middle\" transform=\"translate(14 "
      << (kTop + kHeight - kBottom) / 2 << ") rotate(-90)\">" << escape_html(axes.y) << "</text>\n";
}

void draw_series(std::ostream& out, PlotSeries series, std::size_t color, const PlotScale& x,
                 const PlotScale& y) {
  std::erase_if(series.points, [](const PlotPoint& point) { return !drawable(point); });
  std::sort(series.points.begin(), series.points.end(),
            [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
  if (series.line && series.points.size() > 1) {
    out << "<polyline fill=\"none\" stroke-dasharray=\"5 4\" stroke=\"" << plot_paint(color)
        << "\" points=\"";
    for (const PlotPoint& point : series.points) out << x(point.x) << ',' << y(point.y) << ' ';
    out << "\"/>\n";
  }
  for (const PlotPoint& point : series.points) {
    out << "<path class=\"point\" " << plot_marker(color) << " transform=\"translate(" << x(point.x)
        << ' ' << y(point.y) << ")\"><title>" << escape_html(series.name + ": " + point.label)
        << " (" << plot_number(point.x) << ", " << plot_number(point.y) << ")</title></path>\n";
  }
}

// Never larger than drawn.
std::string svg_begin(const PlotAxes& axes, double width, double height) {
  return str_cat("<div class=\"plot\"><svg role=\"img\" style=\"max-width:", width,
                 "px\" viewBox=\"0 0 ", width, " ", height, "\"><title>", escape_html(axes.title),
                 "</title>\n");
}

constexpr const char* kSvgEnd = "</svg></div>\n";

// False: there is nothing to draw.
bool draw_scatter(std::ostream& out, const PlotAxes& axes, std::vector<PlotSeries> series) {
  Range xs, ys;
  for (PlotSeries& one : series) {
    for (PlotPoint& point : one.points) {
      if (!drawable(point)) continue;
      if (axes.log_y) point.y = std::max(point.y, axes.floor);
      xs.add(point.x);
      ys.add(point.y);
    }
  }
  if (xs.empty()) return false;
  // A margin, so that no point lies on the frame; also where all values are one.
  const double pad_x = xs.high > xs.low ? 0.03 * (xs.high - xs.low) : 1;
  const double pad_y =
      ys.high > ys.low ? 0.05 * (ys.high - ys.low) : std::max(1e-6, 0.1 * std::abs(ys.high));
  const PlotScale x{xs.low - pad_x, xs.high + pad_x, kLeft, kWidth - kRight, false};
  const PlotScale y =
      axes.log_y ? PlotScale{ys.low / 1.3, ys.high * 1.3, kHeight - kBottom, kTop, true}
                 : PlotScale{ys.low - pad_y, ys.high + pad_y, kHeight - kBottom, kTop, false};
  draw_axes(out, axes, x, y);
  // The first families last, so that they lie above.
  for (std::size_t i = series.size(); i-- > 0;) draw_series(out, series[i], i, x, y);
  return true;
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string scatter_svg(const PlotAxes& axes, const std::vector<PlotSeries>& series) {
  std::ostringstream out;
  out.precision(6);
  out << svg_begin(axes, kWidth, kHeight);
  if (!draw_scatter(out, axes, series)) return "<p>Nothing to plot.</p>\n";
  out << kSvgEnd;
  return out.str();
}

std::string figures_svg(const std::vector<PlotFigure>& figures) {
  constexpr double kLegend = 26;
  const double height = static_cast<double>(figures.size()) * (kHeight + kLegend);
  std::ostringstream out;
  out.precision(6);
  out << plot_file_begin(kWidth, height);
  for (std::size_t f = 0; f < figures.size(); ++f) {
    const auto& [axes, series] = figures[f];
    out << "<g transform=\"translate(0 " << static_cast<double>(f) * (kHeight + kLegend)
        << ")\">\n";
    draw_scatter(out, axes, series);
    for (std::size_t i = 0; i < series.size(); ++i) {
      const double at =
          kLeft + static_cast<double>(i) * (kWidth - kLeft) / static_cast<double>(series.size());
      out << "<path " << plot_marker(i) << " transform=\"translate(" << at + 6 << ' ' << kHeight + 8
          << ")\"/><text x=\"" << at + 18 << "\" y=\"" << kHeight + 12 << "\">"
          << escape_html(series[i].name) << "</text>\n";
    }
    out << "</g>\n";
  }
  out << "</svg>\n";
  return out.str();
}

std::string bars_svg(const PlotAxes& axes, const std::vector<PlotBar>& bars) {
  constexpr double kBarsWidth = 900, kLabels = 400, kRow = 19;
  double high = 0;
  for (const PlotBar& bar : bars) {
    for (const double v : {bar.value, bar.mark}) high = std::isfinite(v) ? std::max(high, v) : high;
  }
  if (high <= 0) return "<p>Nothing to plot.</p>\n";
  const double bottom = kTop + kRow * static_cast<double>(bars.size()) + 4;
  const PlotScale x{0, 1.05 * high, kLabels, kBarsWidth - kRight, false};
  std::ostringstream out;
  out.precision(6);
  out << svg_begin(axes, kBarsWidth, bottom + kBottom);
  draw_x_axis(out, x, kTop, bottom);
  double top = kTop + 4;
  for (const PlotBar& bar : bars) {
    out << "<text text-anchor=\"end\" x=\"" << kLabels - 8 << "\" y=\"" << top + 11 << "\">"
        << escape_html(bar.label) << "</text><rect class=\"bar\" x=\"" << kLabels << "\" y=\""
        << top << "\" width=\"" << std::max(1.0, x(bar.value) - kLabels) << "\" height=\""
        << kRow - 6 << "\" fill=\"" << plot_paint(bar.series)
        << (plot_hollow(bar.series) ? "\" fill-opacity=\"0.5" : "") << "\"><title>"
        << escape_html(bar.label) << ": " << plot_number(bar.value) << "</title></rect>\n";
    if (std::isfinite(bar.mark)) {
      out << "<path class=\"mark\" d=\"M" << x(bar.mark) << ' ' << top - 2 << 'v' << kRow - 2
          << "\"/>\n";
    }
    top += kRow;
  }
  out << "<text class=\"title\" x=\"4\" y=\"16\">" << escape_html(axes.title)
      << "</text><text text-anchor=\"middle\" x=\"" << (kLabels + kBarsWidth - kRight) / 2
      << "\" y=\"" << bottom + 34 << "\">" << escape_html(axes.x) << "</text>" << kSvgEnd;
  return out.str();
}

std::string marker_svg(std::size_t series) {
  return "<svg viewBox=\"-7 -7 14 14\"><path " + plot_marker(series) + "/></svg>";
}

}  // namespace monarch::evaluation
