#include "monarch/io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "monarch/base/error.h"

namespace monarch::io {
namespace {

[[noreturn]] void fail_write(const std::filesystem::path& path, int reason) {
  fail(ErrorCode::kIo, "[monarch_io] cannot write ", path.string(), ": ", std::strerror(reason),
       reason == ENOSPC ? "; free some space or choose another folder" : "");
}

// fsync by name; filesystems that cannot sync a folder say EINVAL, which loses nothing.
void flush_to_disk(const std::filesystem::path& path, const std::filesystem::path& shown) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail_write(shown, errno);
  const int reason = ::fsync(file) == 0 ? 0 : errno;
  ::close(file);
  if (reason != 0 && reason != EINVAL && reason != EROFS) fail_write(shown, reason);
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace

std::filesystem::path temporary_name(const std::filesystem::path& path) {
  std::error_code ignored;
  MONARCH_CHECK(path.has_filename(), "[monarch_io] '", path.string(),
                "' names no file; give a file name");
  const std::filesystem::path folder = folder_of(path);
  MONARCH_CHECK_CODE(std::filesystem::is_directory(folder, ignored), kIo,
                     "[monarch_io] cannot write ", path.string(), ": there is no folder ",
                     folder.string());
  const auto status = std::filesystem::status(path, ignored);
  MONARCH_CHECK_CODE(!std::filesystem::exists(status) || std::filesystem::is_regular_file(status),
                     kIo, "[monarch_io] cannot write ", path.string(), ": it is ",
                     std::filesystem::is_directory(status) ? "a folder" : "not a regular file");
  static std::atomic<unsigned> counter = 0;
  return folder / ("." + path.stem().string() + "." + std::to_string(::getpid()) + "-" +
                   std::to_string(counter++) + ".part" + path.extension().string());
}

void publish(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  flush_to_disk(temporary, path);
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail_write(path, errno);
  flush_to_disk(folder_of(path), path);
}

AtomicFile::AtomicFile(const std::filesystem::path& path)
    : path_(path), temporary_(temporary_name(path)) {
  file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file_ < 0) fail_write(path_, errno);
}

AtomicFile::~AtomicFile() {
  if (file_ >= 0) {
    ::close(file_);
    ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  overwrite(position_, bytes);
  position_ += bytes.size();
}

void AtomicFile::overwrite(std::uint64_t position, std::span<const std::byte> bytes) {
  // Linux writes at most 2 GiB a call.
  constexpr std::size_t kMost = std::size_t{1} << 30;
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(file_, bytes.data(), std::min(bytes.size(), kMost), static_cast<off_t>(position));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_write(path_, errno);
    }
    position += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void AtomicFile::commit() {
  publish(temporary_, path_);
  ::close(file_);
  file_ = -1;
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace monarch::io
