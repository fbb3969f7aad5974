#include <array>
#include <cstring>

#include "monarch/base/error.h"
#include "monarch/io/checkpoint.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/safetensors.h"
#include "monarch/io/sharded.h"

namespace monarch::io {
namespace {

enum class FileKind { kEmpty, kZip, kOther };

FileKind kind_of(const std::filesystem::path& path) {
  const MappedFile file(path);
  if (file.bytes().empty()) return FileKind::kEmpty;
  constexpr std::array<char, 4> kZipMagic = {'P', 'K', 3, 4};
  const bool zip = file.bytes().size() >= kZipMagic.size() &&
                   std::memcmp(file.bytes().data(), kZipMagic.data(), kZipMagic.size()) == 0;
  return zip ? FileKind::kZip : FileKind::kOther;
}

}  // namespace

std::shared_ptr<const Checkpoint> open_checkpoint(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return open_sharded(path);
  switch (kind_of(path)) {
    case FileKind::kEmpty:
      fail(ErrorCode::kCorrupt, "[monarch_io] ", path.string(),
           " is empty; the download or copy did not finish");
    case FileKind::kZip:
      fail(ErrorCode::kUnsupported, "[monarch_io] ", path.string(),
           " is a torch file, which this version does not read yet");
    case FileKind::kOther: break;
  }
  return open_safetensors(path);
}

}  // namespace monarch::io
