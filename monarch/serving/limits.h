// What one caller may ask for, and how often.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace monarch::serving {

struct Limits {
  std::size_t header_bytes = 16 << 10;
  std::size_t body_bytes = 64 << 10;
  std::size_t message_bytes = 16 << 10;  // of a WebSocket message to the server
  std::size_t prompt_bytes = 4096;
  std::size_t send_queue_bytes = 8 << 20;  // waiting for one viewer; beyond, it is dropped
  std::size_t slow_queue_bytes = 1 << 20;  // beyond, its next chunk waits
  int max_connections = 256;
  int max_viewers = 32;
  int max_queued_videos = 64;
  int max_kept_videos = 256;  // finished ones; beyond, the oldest is removed
  std::int64_t max_video_frames = 1024;
  std::int64_t max_steps = 100;
  double requests_per_second = 50;  // of one address
  double request_burst = 200;
  double messages_per_second = 20;  // of one WebSocket
  double message_burst = 60;
  std::chrono::seconds request_timeout{30};  // to receive a request, waiting for its start included
  std::chrono::seconds stall_timeout{20};    // of a viewer that takes nothing and answers no ping
};

// Allows `burst` actions at once and `rate` a second in the long run.
class TokenBucket {
 public:
  using Clock = std::chrono::steady_clock;
  TokenBucket(double rate, double burst, Clock::time_point now);

  // Takes one token; false if there is none.
  bool take(Clock::time_point now);
  // Until take() succeeds, rounded up; at least 1 s.
  std::chrono::seconds wait(Clock::time_point now) const;
  // No different from a new one: may be forgotten.
  bool full(Clock::time_point now) const;

 private:
  double tokens_at(Clock::time_point now) const;

  double rate_;
  double burst_;
  double tokens_;
  Clock::time_point updated_;
};

}  // namespace monarch::serving
