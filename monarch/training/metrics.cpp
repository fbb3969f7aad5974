#include "monarch/training/metrics.h"

#include <cmath>
#include <iomanip>
#include <sstream>

#include "monarch/base/memory.h"

namespace monarch::training {

void add_pace(Metrics& metrics, double samples_per_second, double seconds_left) {
  metrics.emplace_back("samples_per_second", samples_per_second);
  metrics.emplace_back("seconds_left", seconds_left);
  metrics.emplace_back("peak_memory_gib", static_cast<double>(peak_memory_bytes()) / (1 << 30));
}

std::string console_text(const Metrics& metrics) {
  std::ostringstream text;
  text << std::setprecision(5);
  for (const auto& [name, value] : metrics) {
    if (name == "seconds_left") {
      text << "  " << std::lround(value / 60) << " min left";
    } else {
      text << "  " << name << " " << value;
    }
  }
  return text.str();
}

std::string json_line(std::int64_t step, const Metrics& metrics) {
  std::ostringstream line;
  line << R"({"step": )" << step << std::setprecision(9);
  for (const auto& [name, value] : metrics) line << ", \"" << name << "\": " << value;
  line << "}";
  return line.str();
}

}  // namespace monarch::training
