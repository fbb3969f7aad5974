// Folders of torch.distributed.checkpoint: .metadata, a pickle that says where each piece of each
// tensor is, and __{rank}_{n}.distcp files, in which each piece is a torch file of its own.
#pragma once

#include <filesystem>
#include <memory>

#include "monarch/io/checkpoint.h"

namespace monarch::io {

// All tensors, whole, under their flat names ("generator.model.blocks.0..."): views of the mapped
// files where a tensor is in one piece, put together in memory where it is in several. No code of
// the pickles is run. Throws kNotFound (a file is missing), kCorrupt (pieces that overlap, leave
// holes or disagree with the metadata), kUnsupported as open_torch.
std::shared_ptr<const Checkpoint> open_distributed(const std::filesystem::path& folder);

}  // namespace monarch::io
