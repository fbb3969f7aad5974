// Logging: libraries write lines to a sink that the application sets; without one, nothing is
// printed.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "monarch/base/error.h"

namespace monarch {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

using LogSink = std::function<void(LogLevel, std::string_view)>;

// Replaces the process-wide sink; thread-safe; an empty function silences.
void set_log_sink(LogSink sink);
void log_line(LogLevel level, std::string_view line);

template <typename... Parts>
void log_info(const Parts&... parts) {
  log_line(LogLevel::kInfo, str_cat(parts...));
}
template <typename... Parts>
void log_warning(const Parts&... parts) {
  log_line(LogLevel::kWarning, str_cat(parts...));
}
template <typename... Parts>
void log_debug(const Parts&... parts) {
  log_line(LogLevel::kDebug, str_cat(parts...));
}

}  // namespace monarch
