#include "tests/attention/cuda_emulator/shared_memory.h"

#include <utility>

#include "monarch/base/error.h"

namespace monarch::attention::test {
namespace {

constexpr std::byte kPoison{0xff};

}  // namespace

SharedMemory::SharedMemory(std::size_t bytes, Clocks& clocks, std::function<std::string(int)> name)
    : bytes_(bytes, kPoison),
      elements_((bytes + kElement - 1) / kElement),
      fences_(clocks.actors()),
      clocks_(&clocks),
      name_(std::move(name)) {}

void SharedMemory::check(int actor, const char* what, std::uint32_t offset,
                         std::size_t bytes) const {
  if (std::size_t{offset} + bytes > bytes_.size()) {
    throw EmulationError(str_cat(name_(actor), " ", what, " bytes ", offset, "..", offset + bytes,
                                 " of ", bytes_.size(), " bytes of shared memory"));
  }
  if (offset % bytes != 0) {
    throw EmulationError(
        str_cat(name_(actor), " ", what, " ", bytes, " bytes at the misaligned offset ", offset));
  }
}

void SharedMemory::check_read(int actor, std::size_t index) const {
  const Element& element = elements_[index];
  if (element.in_flight) {
    throw EmulationError(str_cat(name_(actor), " reads offset ", index * kElement,
                                 " while an asynchronous copy of ", name_(element.write.actor),
                                 " to it is in flight"));
  }
  if (!clocks_->knows(actor, element.write)) {
    throw EmulationError(str_cat(name_(actor), " reads offset ", index * kElement, " which ",
                                 name_(element.write.actor), " wrote, with no barrier between"));
  }
}

// `checker` knows what `reader` does.
void SharedMemory::note_read(int checker, int reader, Element& element) {
  if (element.read.actor == reader || clocks_->knows(checker, element.read)) {
    element.read = clocks_->now(reader);
    return;
  }
  if (element.other_reads == nullptr) {
    element.other_reads = std::make_unique<std::vector<Access>>();
  }
  for (Access& other : *element.other_reads) {
    if (other.actor == reader || clocks_->knows(checker, other)) {
      other = clocks_->now(reader);
      return;
    }
  }
  element.other_reads->push_back(clocks_->now(reader));
}

void SharedMemory::read(int actor, std::uint32_t offset, void* to, std::size_t bytes) {
  check(actor, "reads", offset, bytes);
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    check_read(actor, index);
    note_read(actor, actor, elements_[index]);
  }
  std::memcpy(to, bytes_.data() + offset, bytes);
}

void SharedMemory::note_write(int actor, std::uint32_t offset, std::size_t bytes) {
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    Element& element = elements_[index];
    const auto race = [&](const char* did, int who) {
      throw EmulationError(str_cat(name_(actor), " writes offset ", index * kElement, " which ",
                                   name_(who), " ", did, ", with no barrier between"));
    };
    if (element.in_flight && element.write.actor != actor)
      race("is copying to", element.write.actor);
    if (!clocks_->knows(actor, element.write)) race("wrote", element.write.actor);
    if (!clocks_->knows(actor, element.read)) race("read", element.read.actor);
    if (element.other_reads != nullptr) {
      for (const Access& other : *element.other_reads) {
        if (!clocks_->knows(actor, other)) race("read", other.actor);
      }
      element.other_reads->clear();
    }
    element.read = {};
    element.write = clocks_->now(actor);
    element.fences = fences_[static_cast<std::size_t>(actor)];
    element.by_thread = true;
  }
}

void SharedMemory::write(int actor, std::uint32_t offset, const void* from, std::size_t bytes) {
  check(actor, "writes", offset, bytes);
  note_write(actor, offset, bytes);
  std::memcpy(bytes_.data() + offset, from, bytes);
}

void SharedMemory::begin_copy(int actor, std::uint32_t offset, std::size_t bytes) {
  check(actor, "copies to", offset, bytes);
  note_write(actor, offset, bytes);
  std::memset(bytes_.data() + offset, static_cast<int>(kPoison), bytes);
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    elements_[index].in_flight = true;
  }
}

void SharedMemory::end_copy(int actor, std::uint32_t offset, const void* from, std::size_t bytes) {
  note_write(actor, offset, bytes);
  std::memcpy(bytes_.data() + offset, from, bytes);
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    elements_[index].in_flight = false;
  }
}

void SharedMemory::begin_bulk_copy(int actor, std::uint32_t offset, std::size_t bytes) {
  check(actor, "copies to", offset, bytes);
  if (elements_[offset / kElement].in_flight) {
    throw EmulationError(str_cat(name_(actor), " copies to offset ", offset,
                                 " while another copy to it is in flight"));
  }
  begin_copy(actor, offset, bytes);
}

void SharedMemory::end_bulk_copy(int unit, std::uint32_t offset, const void* from,
                                 std::size_t bytes) {
  std::memcpy(bytes_.data() + offset, from, bytes);
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    Element& element = elements_[index];
    element.write = clocks_->now(unit);
    element.in_flight = false;
    element.by_thread = false;
  }
}

void SharedMemory::begin_bulk_read(int actor, int unit, std::uint32_t offset, std::size_t bytes) {
  check(actor, "reads", offset, bytes);
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    Element& element = elements_[index];
    check_read(actor, index);
    const int writer = element.write.actor;
    if (element.by_thread && element.fences == fences_[static_cast<std::size_t>(writer)]) {
      throw EmulationError(str_cat("a matrix product of ", name_(actor), " reads offset ",
                                   index * kElement, " which ", name_(writer),
                                   " wrote, with no fence_async() after it"));
    }
    note_read(actor, unit, element);
  }
}

void SharedMemory::end_bulk_read(int actor, std::uint32_t offset, void* to,
                                 std::size_t bytes) const {
  for (std::size_t index = offset / kElement; index * kElement < offset + bytes; ++index) {
    if (elements_[index].in_flight) {
      throw EmulationError(str_cat("a matrix product of ", name_(actor), " reads offset ",
                                   index * kElement, " which is being copied to"));
    }
  }
  std::memcpy(to, bytes_.data() + offset, bytes);
}

}  // namespace monarch::attention::test
