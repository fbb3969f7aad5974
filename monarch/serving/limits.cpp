#include "monarch/serving/limits.h"

#include <algorithm>
#include <cmath>

#include "monarch/base/error.h"

namespace monarch::serving {

TokenBucket::TokenBucket(double rate, double burst, Clock::time_point now)
    : rate_(rate), burst_(burst), tokens_(burst), updated_(now) {
  MONARCH_CHECK(rate > 0 && burst >= 1, "[monarch_serving] a rate of ", rate,
                " a second with bursts of ", burst,
                " allows nothing; use a rate above 0 and bursts of "
                "at least 1");
}

double TokenBucket::tokens_at(Clock::time_point now) const {
  const double seconds = std::chrono::duration<double>(now - updated_).count();
  return std::min(burst_, tokens_ + std::max(seconds, 0.0) * rate_);
}

bool TokenBucket::take(Clock::time_point now) {
  tokens_ = tokens_at(now);
  updated_ = std::max(updated_, now);
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

std::chrono::seconds TokenBucket::wait(Clock::time_point now) const {
  const double missing = std::max(0.0, 1 - tokens_at(now));
  return std::chrono::seconds(std::max<std::int64_t>(1, std::llround(std::ceil(missing / rate_))));
}

bool TokenBucket::full(Clock::time_point now) const { return tokens_at(now) >= burst_; }

}  // namespace monarch::serving
