// What every fuzz target shares: any bytes may be refused with monarch::Error, nothing else may
// happen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <span>
#include <string_view>

#include "monarch/base/error.h"

// Each target defines this one.
namespace monarch::fuzz {
void run(std::span<const std::byte> bytes);
}

// Other exceptions than Error end the run, as does a refusal that blames our own code or takes
// several lines.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    monarch::fuzz::run({reinterpret_cast<const std::byte*>(data), size});
  } catch (const monarch::Error& error) {
    const std::string_view text = error.what();
    if (error.code() == monarch::ErrorCode::kInternal ||
        text.find('\n') != std::string_view::npos) {
      std::cerr << "bad error: " << text << "\n";
      std::abort();
    }
  }
  return 0;
}
