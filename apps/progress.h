// Progress on stderr: one line that is rewritten on a terminal, a plain line every few seconds when
// piped.
#pragma once

#include <cstdint>
#include <string>

#include "monarch/base/timer.h"

namespace monarch::apps {

class Progress {
 public:
  // `total` steps of the stage `name`; with `quiet` nothing is printed.
  Progress(std::string name, std::int64_t total, bool quiet = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(std::int64_t done);
  // Ends the line. Called by the destructor if it was not called before.
  void finish();

 private:
  std::string name_;
  std::int64_t total_;
  bool quiet_;
  bool terminal_;
  bool open_ = false;
  Timer since_start_;
  Timer since_print_;
};

std::string format_duration(double seconds);    // "7.3 s", "2 min 05 s", "1 h 10 min"
std::string format_bytes(std::uint64_t bytes);  // "812 KiB", "2.7 GiB"

}  // namespace monarch::apps
