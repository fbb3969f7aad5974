#include "monarch/base/divisors.h"

#include <vector>

#include "monarch/base/error.h"

namespace monarch {

std::string divisors(std::int64_t number) {
  std::vector<std::int64_t> found;
  std::vector<std::int64_t> above_root;
  for (std::int64_t candidate = 1; candidate <= number / candidate; ++candidate) {
    if (number % candidate != 0) continue;
    found.push_back(candidate);
    if (candidate != number / candidate) above_root.push_back(number / candidate);
  }
  found.insert(found.end(), above_root.rbegin(), above_root.rend());
  std::string text;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (i > 0) text += i + 1 == found.size() ? " or " : ", ";
    text += std::to_string(found[i]);
  }
  return text;
}

void check_divides(std::string_view room, std::string_view what, std::int64_t size,
                   std::string_view key, std::int64_t divisor, std::int64_t candidates) {
  MONARCH_CHECK(divisor >= 1, room, key, " must be at least 1, but is ", divisor);
  MONARCH_CHECK(size % divisor == 0, room, what, ' ', size, " is not divisible by ", key, ' ',
                divisor, "; use ", divisors(candidates == 0 ? size : candidates));
}

}  // namespace monarch
