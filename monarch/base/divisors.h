// The one check that sizes divide, with the numbers that would do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace monarch {

// "1, 2, 4, 13, 26 or 52"; "" for numbers below 1.
std::string divisors(std::int64_t number);

// Throws kInvalidArgument unless divisor >= 1 divides size; `room` begins the message:
//   [monarch_ops] width 52 is not divisible by w_reduce 3; use 1, 2, 4, 13, 26 or 52
// The numbers to use are the divisors of `candidates` (0: of `size`), for a divisor that must
// divide something else as well.
void check_divides(std::string_view room, std::string_view what, std::int64_t size,
                   std::string_view key, std::int64_t divisor, std::int64_t candidates = 0);

}  // namespace monarch
