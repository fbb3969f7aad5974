#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <utility>

#include "monarch/base/log.h"
#include "monarch/io/ffmpeg.h"

namespace monarch::io::ffmpeg {
namespace {

thread_local std::string last_error;

void log_callback(void* /*object*/, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_WARNING) return;
  std::array<char, 512> line{};
  std::vsnprintf(line.data(), line.size(), format, arguments);
  std::string text = line.data();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  log_debug("[ffmpeg] ", text);
  if (level <= AV_LOG_ERROR) last_error = std::move(text);
}

}  // namespace

void quiet() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(log_callback); });
}

std::string take_last_error() { return std::exchange(last_error, {}); }

}  // namespace monarch::io::ffmpeg
