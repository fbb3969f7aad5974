// Latents and prompts in LMDB, in the originals' records:
//   latents_shape     "70000 21 16 60 104": rows, then the shape of one
//   latents_{i}_data  row i: float16 [F, C, H, W], or [steps, F, C, H, W] from noise to clean
//   prompts_{i}_data  UTF-8
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "monarch/io/lmdb.h"
#include "monarch/training/data/batches.h"

namespace monarch::training {

// A name that ends in .mdb, or a folder with sub-folders that hold a data.mdb.
bool is_lmdb(const std::filesystem::path& path);

class LmdbLatents : public LatentData {
 public:
  // `path`: a file *.mdb, or a folder whose sub-folders, in the order of their names, are shards.
  // Checks every row's size at once. Throws kNotFound, kCorrupt naming file and record.
  explicit LmdbLatents(const std::filesystem::path& path);

  int64_t size() const override { return static_cast<int64_t>(rows_.size()); }
  at::Tensor latents(int64_t index) const override;  // of a trajectory the clean end
  std::string prompt(int64_t index) const override;

  // As stored: [1 or steps, F, C, H, W] float32.
  at::Tensor trajectory(int64_t index) const;
  // Shard and row in it.
  std::pair<int64_t, int64_t> place(int64_t index) const {
    return rows_.at(static_cast<size_t>(index));
  }
  const std::vector<int64_t>& shard_shape(int64_t shard) const {
    return shards_.at(static_cast<size_t>(shard)).shape;
  }
  const io::LmdbFile& shard(int64_t shard) const {
    return *shards_.at(static_cast<size_t>(shard)).file;
  }

 private:
  struct Shard {
    std::unique_ptr<io::LmdbFile> file;
    std::vector<int64_t> shape;  // rows first
  };

  std::vector<Shard> shards_;
  std::vector<std::pair<int64_t, int64_t>> rows_;
};

// Writes rows [F, C, H, W] in turn to `num_shards` environments: "shard_0", ... below `folder`, or,
// for one shard and a name that ends in .mdb, to that file. Prompts seen before are skipped.
class LmdbLatentsWriter {
 public:
  LmdbLatentsWriter(const std::filesystem::path& path, int64_t num_shards);
  ~LmdbLatentsWriter();

  // Returns whether it was new. All rows must have one shape.
  bool add(const std::string& prompt, const at::Tensor& latents);
  void finish();  // returns when everything has its final name
  int64_t size() const { return size_; }

 private:
  struct Shard;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<int64_t> shape_;
  std::vector<std::string> prompts_;  // sorted
  int64_t size_ = 0;
};

}  // namespace monarch::training
