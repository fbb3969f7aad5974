// Errors: one exception type, one check macro.
//
// A message says what was given, what was expected and what to do, and starts with the room that
// raised it:
//   [monarch_attention] width 52 is not divisible by w_reduce 3; use 1, 2, 4, 13, 26 or 52
// Libraries throw; each boundary (C ABI, Torch operator, command line, HTTP) translates once.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace monarch {

enum class ErrorCode {
  kInvalidArgument,  // the caller can fix it: a wrong shape, flag or key
  kNotFound,         // a file, tensor or name does not exist
  kCorrupt,          // outside bytes that are damaged, truncated or hostile
  kUnsupported,      // well formed, but not something this build can do
  kIo,               // the system refused: permissions, full disk
  kOutOfMemory,
  kCancelled,  // the user asked to stop; what was done is kept
  kInternal,   // our mistake
};

// "invalid argument", "not found", ... for logs and JSON.
std::string_view error_code_name(ErrorCode code);

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// Concatenates anything that has operator<<.
template <typename... Parts>
std::string str_cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <typename... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  throw Error(code, str_cat(parts...));
}

// "[2, 3, 5]" for a range of numbers; shapes in messages.
template <typename Range>
std::string shape_string(const Range& shape) {
  std::ostringstream out;
  out << '[';
  bool first = true;
  for (const auto& size : shape) {
    if (!first) out << ", ";
    out << size;
    first = false;
  }
  out << ']';
  return out.str();
}

}  // namespace monarch

// Throws Error(kInvalidArgument) with the concatenation of the arguments after the condition.
#define MONARCH_CHECK(condition, ...)                                       \
  do {                                                                      \
    if (!(condition)) [[unlikely]] {                                        \
      ::monarch::fail(::monarch::ErrorCode::kInvalidArgument, __VA_ARGS__); \
    }                                                                       \
  } while (false)

// The same with a code of its own: MONARCH_CHECK_CODE(ok, kCorrupt, "[monarch_io] ...", value).
#define MONARCH_CHECK_CODE(condition, error_code, ...)                \
  do {                                                                \
    if (!(condition)) [[unlikely]] {                                  \
      ::monarch::fail(::monarch::ErrorCode::error_code, __VA_ARGS__); \
    }                                                                 \
  } while (false)
