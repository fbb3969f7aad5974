#include "monarch/training/data/latent_pool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "monarch/base/error.h"

namespace monarch::training {
namespace {

constexpr std::size_t kHeaderBytes = 4096;  // the key, padded

struct Closer {
  int descriptor;
  ~Closer() { close(descriptor); }
};

// What an existing file says it holds; empty for a new one.
std::string read_key(int descriptor) {
  std::array<char, kHeaderBytes> text{};
  if (pread(descriptor, text.data(), text.size(), 0) <= 0) return {};
  return {text.data(), strnlen(text.data(), text.size())};
}

}  // namespace

LatentPool::LatentPool(const std::filesystem::path& file, const std::string& key,
                       ShapesDataset data, int64_t size, std::vector<int64_t> shape, Encode encode)
    : data_(std::move(data)), size_(size), shape_(std::move(shape)), encode_(std::move(encode)) {
  int64_t elements = 1;
  for (const int64_t extent : shape_) elements *= extent;
  const std::string header = key + " " + std::to_string(size) + " " + shape_string(shape_);
  MONARCH_CHECK(header.size() < kHeaderBytes, "[monarch_training] the key of ", file.string(),
                " is too long");
  const auto marks = (static_cast<std::size_t>(size) + 4095) / 4096 * 4096;
  bytes_ = kHeaderBytes + marks + 2 * static_cast<std::size_t>(size * elements);
  std::filesystem::create_directories(file.parent_path());
  const int descriptor = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  MONARCH_CHECK_CODE(descriptor >= 0, kIo, "[monarch_training] cannot open ", file.string(), ": ",
                     std::strerror(errno));
  const Closer closer{descriptor};
  // Before its size is touched: the file may hold what somebody still needs.
  const std::string found = read_key(descriptor);
  MONARCH_CHECK(found.empty() || found == header, "[monarch_training] ", file.string(),
                " holds latents of '", found, "', not of '", header,
                "'; delete it or name another folder");
  MONARCH_CHECK_CODE(ftruncate(descriptor, static_cast<off_t>(bytes_)) == 0, kIo,
                     "[monarch_training] cannot keep ", bytes_ >> 20, " MB of latents in ",
                     file.string(), ": ", std::strerror(errno));
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  MONARCH_CHECK_CODE(memory != MAP_FAILED, kIo, "[monarch_training] cannot map ", file.string(),
                     ": ", std::strerror(errno));
  mapped_ = static_cast<std::uint8_t*>(memory);
  std::copy(header.begin(), header.end(), reinterpret_cast<char*>(mapped_));
  std::vector<int64_t> all{size_};
  all.insert(all.end(), shape_.begin(), shape_.end());
  latents_ = at::from_blob(mapped_ + kHeaderBytes + marks, all, at::kHalf);
}

LatentPool::~LatentPool() { munmap(mapped_, bytes_); }

at::Tensor LatentPool::latent(int64_t index, const ShapesScene& scene) const {
  MONARCH_CHECK(index >= 0 && index < size_, "[monarch_training] latent ", index, " of a pool of ",
                size_);
  // Two threads may encode the same one at the same time; both write the same bytes.
  std::atomic_ref<std::uint8_t> present(mapped_[kHeaderBytes + static_cast<std::size_t>(index)]);
  if (present.load(std::memory_order_acquire) == 0) {
    const at::NoGradGuard no_grad;
    latents_[index].copy_(encode_(scene));
    present.store(1, std::memory_order_release);
  }
  return latents_[index].to(at::kFloat);
}

}  // namespace monarch::training
