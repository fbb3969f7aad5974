#include "monarch/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "monarch/base/error.h"

namespace monarch::io {

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    const int reason = errno;
    MONARCH_CHECK_CODE(reason != ENOENT && reason != ENOTDIR, kNotFound,
                       "[monarch_io] there is no file ", path.string());
    fail(ErrorCode::kIo, "[monarch_io] cannot open ", path.string(), ": ", std::strerror(reason));
  }
  struct stat status = {};
  const bool known = ::fstat(file, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    ::close(file);
    fail(ErrorCode::kIo, "[monarch_io] ", path.string(), " is ",
         known && S_ISDIR(status.st_mode) ? "a folder" : "not a regular file",
         "; a file was expected");
  }
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ > 0) {
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    if (address == MAP_FAILED) {
      const int reason = errno;
      ::close(file);
      fail(ErrorCode::kIo, "[monarch_io] cannot map ", path.string(), " (", size_,
           " bytes): ", std::strerror(reason));
    }
    data_ = static_cast<const std::byte*>(address);
  }
  ::close(file);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace monarch::io
