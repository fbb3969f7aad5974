// A block's shared memory that knows who wrote and read each element, and since when.
//
// Bytes nobody wrote read as NaN (in float, bf16 and f16). Reported as errors: accesses out of
// bounds or misaligned; two threads of which one writes, with no barrier between them; reads of
// what an asynchronous copy has not delivered yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace monarch::attention::test {

class EmulationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class SharedMemory {
 public:
  explicit SharedMemory(std::size_t bytes);

  // All threads have passed a barrier: what follows happens after what was.
  void begin_epoch() { ++epoch_; }

  void read(int thread, std::uint32_t offset, void* to, std::size_t bytes);
  void write(int thread, std::uint32_t offset, const void* from, std::size_t bytes);
  // An asynchronous copy: from begin to end the bytes are nobody's to read.
  void begin_copy(int thread, std::uint32_t offset, std::size_t bytes);
  void end_copy(int thread, std::uint32_t offset, const void* from, std::size_t bytes);

 private:
  static constexpr std::uint32_t kElement = 2;  // bytes
  static constexpr int kNobody = -1;
  static constexpr int kSeveral = -2;
  struct Element {
    std::uint32_t write_epoch = 0;
    std::uint32_t read_epoch = 0;
    int writer = kNobody;
    int reader = kNobody;  // kSeveral: more than one in read_epoch
    bool in_flight = false;
  };

  void check(int thread, const char* what, std::uint32_t offset, std::size_t bytes) const;
  void note_write(int thread, std::uint32_t offset, std::size_t bytes);

  std::vector<std::byte> bytes_;
  std::vector<Element> elements_;
  std::uint32_t epoch_ = 1;
};

}  // namespace monarch::attention::test
