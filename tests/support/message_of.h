// What an error says.
#pragma once

#include <string>

#include "monarch/base/error.h"

namespace monarch {

// The message of the Error that `call` throws, or "no error".
template <typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace monarch
