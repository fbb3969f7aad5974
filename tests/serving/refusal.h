// Status and text of the HttpError that `action` throws; status 0 if it throws none.
#pragma once

#include <string>

#include "monarch/serving/http_error.h"

namespace monarch::serving {

struct Refusal {
  int status = 0;
  std::string text;
};

template <typename Action>
Refusal refusal_of(Action&& action) {
  try {
    action();
  } catch (const HttpError& error) {
    return {error.status(), error.what()};
  }
  return {};
}

}  // namespace monarch::serving
