// A block's shared memory that knows who wrote and read each element, and who may know of it.
//
// Bytes nobody wrote read as NaN (in float, bf16 and f16). Reported as errors: accesses out of
// bounds or misaligned; two threads of which one writes, with no synchronisation between them;
// reads of what an asynchronous copy has not delivered yet; asynchronous reads of what a thread
// wrote without a fence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/attention/cuda_emulator/clocks.h"

namespace monarch::attention::test {

class EmulationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class SharedMemory {
 public:
  // `name` says who an actor is.
  SharedMemory(std::size_t bytes, Clocks& clocks, std::function<std::string(int)> name);

  void read(int actor, std::uint32_t offset, void* to, std::size_t bytes);
  void write(int actor, std::uint32_t offset, const void* from, std::size_t bytes);
  // An asynchronous copy: from begin to end the bytes are nobody's to read.
  void begin_copy(int actor, std::uint32_t offset, std::size_t bytes);
  void end_copy(int actor, std::uint32_t offset, const void* from, std::size_t bytes);

  // What works past the threads: `actor` asks for it, `unit` does it.
  void begin_bulk_copy(int actor, std::uint32_t offset, std::size_t bytes);
  void end_bulk_copy(int unit, std::uint32_t offset, const void* from, std::size_t bytes);
  void begin_bulk_read(int actor, int unit, std::uint32_t offset, std::size_t bytes);
  void end_bulk_read(int actor, std::uint32_t offset, void* to, std::size_t bytes) const;
  // What the actor wrote is there for them from now on.
  void fence(int actor) { ++fences_[static_cast<std::size_t>(actor)]; }

 private:
  static constexpr std::uint32_t kElement = 2;  // bytes
  struct Element {
    Access write;
    Access read;
    std::unique_ptr<std::vector<Access>> other_reads;  // that do not know of each other
    std::uint32_t fences = 0;                          // of the writer, before it wrote
    bool in_flight = false;
    bool by_thread = false;  // written by a thread itself
  };

  void check(int actor, const char* what, std::uint32_t offset, std::size_t bytes) const;
  void check_read(int actor, std::size_t index) const;
  void note_read(int checker, int reader, Element& element);
  void note_write(int actor, std::uint32_t offset, std::size_t bytes);

  std::vector<std::byte> bytes_;
  std::vector<Element> elements_;
  std::vector<std::uint32_t> fences_;
  Clocks* clocks_;
  std::function<std::string(int)> name_;
};

}  // namespace monarch::attention::test
