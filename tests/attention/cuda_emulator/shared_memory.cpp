#include "tests/attention/cuda_emulator/shared_memory.h"

#include "monarch/base/error.h"

namespace monarch::attention::test {
namespace {

constexpr std::byte kPoison{0xff};

std::string name_of(int thread) {
  return thread < 0 ? "several threads" : str_cat("thread ", thread);
}

}  // namespace

SharedMemory::SharedMemory(std::size_t bytes)
    : bytes_(bytes, kPoison), elements_((bytes + kElement - 1) / kElement) {}

void SharedMemory::check(int thread, const char* what, std::uint32_t offset,
                         std::size_t bytes) const {
  if (std::size_t{offset} + bytes > bytes_.size()) {
    throw EmulationError(str_cat("thread ", thread, " ", what, " bytes ", offset, "..",
                                 offset + bytes, " of ", bytes_.size(), " bytes of shared memory"));
  }
  if (offset % bytes != 0) {
    throw EmulationError(str_cat("thread ", thread, " ", what, " ", bytes,
                                 " bytes at the misaligned offset ", offset));
  }
}

void SharedMemory::read(int thread, std::uint32_t offset, void* to, std::size_t bytes) {
  check(thread, "reads", offset, bytes);
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    Element& element = elements_[index];
    if (element.in_flight) {
      throw EmulationError(str_cat("thread ", thread, " reads offset ", index * kElement,
                                   " while an asynchronous copy of ", name_of(element.writer),
                                   " to it is in flight"));
    }
    if (element.writer != kNobody && element.write_epoch == epoch_ && element.writer != thread) {
      throw EmulationError(str_cat("thread ", thread, " reads offset ", index * kElement, " which ",
                                   name_of(element.writer), " wrote, with no barrier between"));
    }
    element.reader = element.read_epoch == epoch_ && element.reader != thread ? kSeveral : thread;
    element.read_epoch = epoch_;
  }
  std::memcpy(to, bytes_.data() + offset, bytes);
}

void SharedMemory::note_write(int thread, std::uint32_t offset, std::size_t bytes) {
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    Element& element = elements_[index];
    const auto race = [&](const char* did, int who) {
      throw EmulationError(str_cat("thread ", thread, " writes offset ", index * kElement,
                                   " which ", name_of(who), " ", did, ", with no barrier between"));
    };
    if (element.in_flight && element.writer != thread) race("is copying to", element.writer);
    if (element.writer != kNobody && element.write_epoch == epoch_ && element.writer != thread) {
      race("wrote", element.writer);
    }
    if (element.reader != kNobody && element.read_epoch == epoch_ && element.reader != thread) {
      race("read", element.reader);
    }
    element.writer = thread;
    element.write_epoch = epoch_;
  }
}

void SharedMemory::write(int thread, std::uint32_t offset, const void* from, std::size_t bytes) {
  check(thread, "writes", offset, bytes);
  note_write(thread, offset, bytes);
  std::memcpy(bytes_.data() + offset, from, bytes);
}

void SharedMemory::begin_copy(int thread, std::uint32_t offset, std::size_t bytes) {
  check(thread, "copies to", offset, bytes);
  note_write(thread, offset, bytes);
  std::memset(bytes_.data() + offset, static_cast<int>(kPoison), bytes);
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    elements_[index].in_flight = true;
  }
}

void SharedMemory::end_copy(int thread, std::uint32_t offset, const void* from, std::size_t bytes) {
  note_write(thread, offset, bytes);
  std::memcpy(bytes_.data() + offset, from, bytes);
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    elements_[index].in_flight = false;
  }
}

}  // namespace monarch::attention::test
