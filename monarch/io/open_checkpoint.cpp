#include <string_view>

#include "monarch/base/error.h"
#include "monarch/io/checkpoint.h"
#include "monarch/io/distributed_checkpoint.h"
#include "monarch/io/mapped_file.h"
#include "monarch/io/safetensors.h"
#include "monarch/io/sharded.h"
#include "monarch/io/torch_checkpoint.h"

namespace monarch::io {
namespace {

using namespace std::string_view_literals;

// Files that end up under a checkpoint's name often enough to deserve an answer of their own.
void refuse_foreign(std::string_view text, const std::filesystem::path& path) {
  const auto refuse_if = [&](std::string_view begins, ErrorCode code, std::string_view message) {
    if (text.starts_with(begins)) fail(code, "[monarch_io] ", path.string(), " ", message);
  };
  // The pickled number 0x1950a86a20f9469cfc6c opens torch's first format.
  refuse_if("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv, ErrorCode::kUnsupported,
            "is in torch's format from before version 1.6; load it in Python with "
            "torch.load(path, weights_only=True) and save it again with torch.save");
  for (const std::string_view protocol : {"\x80\x02"sv, "\x80\x03"sv, "\x80\x04"sv, "\x80\x05"sv}) {
    refuse_if(protocol, ErrorCode::kUnsupported,
              "is a bare Python pickle, which could run any program; save the tensors with "
              "torch.save or as safetensors");
  }
  refuse_if("version https://git-lfs"sv, ErrorCode::kCorrupt,
            "is a Git LFS pointer, not the file itself; fetch it with git lfs pull");
  refuse_if("<"sv, ErrorCode::kCorrupt,
            "is a web page or XML, not a checkpoint; the download went wrong");
  refuse_if("GGUF"sv, ErrorCode::kUnsupported,
            "is a GGUF file; safetensors and torch files are read");
}

}  // namespace

std::shared_ptr<const Checkpoint> open_checkpoint(const std::filesystem::path& path) {
  if (std::filesystem::exists(path / ".metadata")) return open_distributed(path);
  if (std::filesystem::is_directory(path)) return open_sharded(path);
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  MONARCH_CHECK_CODE(!text.empty(), kCorrupt, "[monarch_io] ", path.string(),
                     " is empty; the download or copy did not finish");
  if (text.starts_with("PK\3\4"sv)) return open_torch(path);
  // The length of a safetensors header could begin like anything: its brace decides.
  const bool safetensors = text.size() > 8 && text[8] == '{';
  if (!safetensors) refuse_foreign(text, path);
  return open_safetensors(path);
}

}  // namespace monarch::io
