// What the plots share: scales, colours, shapes and texts of SVG.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>
#include <vector>

namespace monarch::evaluation {

// One axis: values to pixels, and where its ticks are.
struct PlotScale {
  double low = 0, high = 1, from = 0, to = 1;
  bool log = false;

  double operator()(double v) const;
  std::vector<double> ticks() const;
};

// Vertical lines from `top` to `bottom`, numbers below.
void draw_x_axis(std::ostream& out, const PlotScale& x, double top, double bottom);

// The colour of a series: a CSS variable.
std::string plot_paint(std::size_t series);
bool plot_hollow(std::size_t series);

// The shape of a series' points, as a path around (0, 0): its attributes. The last two are hollow.
std::string plot_marker(std::size_t series);

std::string plot_number(double value);  // four digits

// A whole file: its size, colours of five series for light and dark, and a background.
std::string plot_file_begin(double width, double height);

}  // namespace monarch::evaluation
