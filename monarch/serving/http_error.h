// What a server answers instead of doing what was asked: an HTTP status and one line for the
// caller.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "monarch/base/error.h"

namespace monarch::serving {

class HttpError : public Error {
 public:
  HttpError(int status, const std::string& message,
            std::optional<std::chrono::seconds> retry_after = std::nullopt);

  int status() const { return status_; }
  std::optional<std::chrono::seconds> retry_after() const { return retry_after_; }

 private:
  int status_;
  std::optional<std::chrono::seconds> retry_after_;
};

// "Bad Request", "Not Found", ...
std::string_view status_text(int status);

// The body of an error answer, as OpenAI's: {"error": {"message", "type", "code"}}.
std::string error_body(int status, std::string_view message);

// The exception being handled as an HttpError. Mistakes of the caller keep their text; whatever
// else went wrong is logged, and the caller learns only that it did: no path, no trace leaves.
HttpError translate_exception();

}  // namespace monarch::serving
