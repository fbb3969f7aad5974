// A small random generator whose bits are the same on every machine (standard distributions are
// not).
#pragma once

#include <cstdint>

namespace monarch::training {

// SplitMix64: passes the usual batteries, has 64 bits of state, and any state is a good one.
class ShapesRng {
 public:
  explicit ShapesRng(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t bits = state_;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ULL;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebULL;
    return bits ^ (bits >> 31);
  }
  // In [0, 1), with 24 bits: exact in float.
  float uniform() { return static_cast<float>(next() >> 40) * 0x1p-24F; }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  // In [0, count).
  int index(int count) {
    return static_cast<int>((next() >> 32) * static_cast<std::uint64_t>(count) >> 32);
  }
  bool chance(float probability) { return uniform() < probability; }

 private:
  std::uint64_t state_;
};

// One number out of two, for a stream of its own for every sample.
inline std::uint64_t mix_seed(std::uint64_t seed, std::uint64_t index) {
  return ShapesRng(seed ^ (index * 0xd1342543de82ef95ULL)).next();
}

}  // namespace monarch::training
