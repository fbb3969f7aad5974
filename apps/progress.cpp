#include "apps/progress.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <utility>

namespace monarch::apps {
namespace {

constexpr double kTerminalInterval = 0.1;  // seconds between two prints
constexpr double kPipedInterval = 5.0;

std::string number(const char* format, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

}  // namespace

Progress::Progress(std::string name, std::int64_t total, bool quiet)
    : name_(std::move(name)), total_(total), quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { finish(); }

void Progress::advance(std::int64_t done) {
  const bool last = done >= total_;
  if (quiet_ ||
      (!last && since_print_.seconds() < (terminal_ ? kTerminalInterval : kPipedInterval)))
    return;
  since_print_.restart();
  const double elapsed = since_start_.seconds();
  std::cerr << (terminal_ ? "\r\033[K" : "") << name_ << ' ' << done << '/' << total_;
  if (done > 0 && !last) {
    std::cerr << ", "
              << format_duration(elapsed / static_cast<double>(done) *
                                 static_cast<double>(total_ - done))
              << " left";
  } else if (last) {
    std::cerr << ", " << format_duration(elapsed);
  }
  if (!terminal_) std::cerr << '\n';
  std::cerr << std::flush;
  open_ = terminal_;
}

void Progress::finish() {
  if (open_) std::cerr << '\n';
  open_ = false;
}

std::string format_duration(double seconds) {
  if (seconds < 10) return number("%.2f s", seconds);
  if (seconds < 60) return number("%.1f s", seconds);
  const double minutes = std::floor(seconds / 60);
  if (minutes < 60)
    return number("%.0f min ", minutes) + number("%02.0f s", std::floor(seconds - 60 * minutes));
  return number("%.0f h ", std::floor(minutes / 60)) +
         number("%02.0f min", minutes - 60 * std::floor(minutes / 60));
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"%.0f B", "%.0f KiB", "%.1f MiB", "%.2f GiB",
                                              "%.2f TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return number(kUnits[unit], value);
}

}  // namespace monarch::apps
