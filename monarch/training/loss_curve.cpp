#include "monarch/training/loss_curve.h"

#include <cmath>
#include <fstream>
#include <iomanip>
#include <nlohmann/json.hpp>

#include "monarch/base/error.h"

namespace monarch::training {
namespace {

constexpr double kWidth = 720, kHeight = 360, kMargin = 56;

struct Point {
  double step, loss;
};

std::vector<Point> read_points(const std::filesystem::path& jsonl) {
  std::ifstream file(jsonl);
  MONARCH_CHECK_CODE(file.good(), kNotFound, "[monarch_training] there is no loss curve at ",
                     jsonl.string());
  std::vector<Point> points;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step") || !json.contains("loss"))
      continue;  // a line cut by a kill
    const Point point{json["step"].get<double>(), json["loss"].get<double>()};
    if (std::isfinite(point.loss) && point.loss > 0) points.push_back(point);
  }
  return points;
}

}  // namespace

void draw_loss_curve(const std::filesystem::path& jsonl, const std::filesystem::path& svg) {
  const std::vector<Point> points = read_points(jsonl);
  if (points.size() < 2) return;
  double low = 1e30, high = 0, last = 0;
  for (const Point& point : points) {
    low = std::min(low, point.loss);
    high = std::max(high, point.loss);
    last = std::max(last, point.step);
  }
  const double span = std::max(std::log(high / low), 1e-6);
  const auto x = [&](double step) { return kMargin + (kWidth - 1.5 * kMargin) * step / last; };
  const auto y = [&](double loss) {
    return kMargin / 2 + (kHeight - 1.5 * kMargin) * (1 - std::log(loss / low) / span);
  };
  std::ofstream file(svg);
  file
      << R"(<svg xmlns="http://www.w3.org/2000/svg" width=")" << kWidth << R"(" height=")"
      << kHeight
      << R"(" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>)"
      << '\n';
  for (int i = 0; i <= 4; ++i) {
    const double loss = low * std::exp(span * i / 4);
    const double step = last * i / 4;
    file << "<path stroke=\"#ddd\" d=\"M" << kMargin << ' ' << y(loss) << 'H'
         << kWidth - kMargin / 2 << "\"/><text x=\"" << kMargin - 6 << "\" y=\"" << y(loss) + 4
         << "\" text-anchor=\"end\">" << std::setprecision(3) << loss << "</text><text x=\""
         << x(step) << "\" y=\"" << kHeight - kMargin / 2 << "\" text-anchor=\"middle\">"
         << std::setprecision(6) << std::round(step) << "</text>\n";
  }
  file << R"(<path fill="none" stroke="#1f6feb" stroke-width="1.5" d=")";
  for (std::size_t i = 0; i < points.size(); ++i) {
    file << (i == 0 ? 'M' : 'L') << x(points[i].step) << ' ' << y(points[i].loss);
  }
  file << "\"/><text x=\"" << kWidth / 2 << "\" y=\"" << kHeight - 8
       << "\" text-anchor=\"middle\">steps</text></svg>\n";
  MONARCH_CHECK_CODE(file.good(), kIo, "[monarch_training] cannot write ", svg.string());
}

}  // namespace monarch::training
