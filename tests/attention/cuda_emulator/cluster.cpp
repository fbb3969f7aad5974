#include "tests/attention/cuda_emulator/cluster.h"

#include <algorithm>

#include "monarch/base/error.h"

namespace monarch::attention::test {

void launch(const Grid& grid, const std::function<void()>& kernel) {
  MONARCH_CHECK(grid.threads > 0 && grid.threads % 32 == 0, "a block of ", grid.threads,
                " threads; the emulator takes multiples of 32");
  MONARCH_CHECK(grid.cluster > 0 && grid.blocks % grid.cluster == 0, grid.blocks,
                " blocks in clusters of ", grid.cluster);
  const std::int64_t clusters = grid.blocks / grid.cluster;
  for (std::int64_t index = 0; index < clusters; ++index) {
    Cluster(grid, grid.backwards ? clusters - 1 - index : index).run(kernel);
  }
}

Cluster::Cluster(const Grid& grid, std::int64_t index)
    : threads_(grid.threads), clocks_(grid.cluster * Block::actors(grid.threads)) {
  for (int rank = 0; rank < grid.cluster; ++rank) {
    blocks_.push_back(std::make_unique<Block>(*this, rank,
                                              static_cast<int>(index * grid.cluster + rank),
                                              grid.threads, grid.shared_bytes));
  }
}

std::string Cluster::name_of(int actor) const {
  const int of_block = Block::actors(threads_);
  const int local = actor % of_block;
  const std::string of = blocks_.size() == 1
                             ? ""
                             : str_cat(" of block ", blocks_[0]->block_index() + actor / of_block);
  if (local < threads_) return str_cat("thread ", local, of);
  const int unit = local - threads_;
  if (unit < threads_ / 32) return str_cat("a matrix product of warp ", unit, of);
  return str_cat("a copy of mbarrier ", unit - threads_ / 32, of);
}

Block& Cluster::block(int rank) {
  if (rank < 0 || rank >= size()) {
    throw EmulationError(str_cat("block ", rank, " of a cluster of ", size()));
  }
  Block& other = *blocks_[static_cast<std::size_t>(rank)];
  if (other.finished()) {
    throw EmulationError(str_cat("block ", other.block_index(),
                                 " has returned, and another of its cluster works on it"));
  }
  return other;
}

void Cluster::run(const std::function<void()>& kernel) {
  for (const auto& block : blocks_) block->start(kernel);
  const auto finished = [](const auto& block) { return block->finished(); };
  while (!std::ranges::all_of(blocks_, finished)) {
    bool progress = false;
    for (const auto& block : blocks_) progress = block->run_once() || progress;
    if (progress) continue;
    if (!transfers_.empty()) {
      const Transfer transfer = transfers_.back();
      transfers_.pop_back();
      deliver(transfer);
      continue;
    }
    const auto stuck = std::ranges::find_if_not(blocks_, finished);
    throw EmulationError(str_cat("block ", (*stuck)->block_index(),
                                 ": threads wait for each other: ", (*stuck)->describe_waiting()));
  }
  if (!transfers_.empty()) {
    throw EmulationError(str_cat("block ", transfers_.front().to->block_index(),
                                 " returned with bulk copies in flight"));
  }
  for (const auto& block : blocks_) block->check_end();
}

void Cluster::barrier() {
  Block& mine = Block::current();
  clocks_.release(mine.actor(), handover_);
  if (++at_barrier_ < size() * threads_) return mine.wait_at("cluster_barrier");
  at_barrier_ = 0;
  const auto seen = std::make_shared<const Clocks::Seen>(std::move(handover_.seen));
  handover_ = {};
  for (const auto& block : blocks_) {
    for (std::size_t thread = 0; thread < block->threads_.size(); ++thread) {
      clocks_.acquire(block->first_actor_ + static_cast<int>(thread), seen);
      block->threads_[thread]->waits_at = nullptr;
    }
  }
}

void Cluster::copy_tensor(std::uint32_t offset, const TiledTensor& tensor,
                          const std::array<int, 4>& coordinates, std::uint32_t mbarrier,
                          std::uint32_t mask) {
  const int actor = Block::current().actor();
  const auto& box = tensor.box;
  if (box[0] * 2 > 128 || offset % 1024 != 0) {
    throw EmulationError(str_cat(name_of(actor), " copies rows of ", box[0] * 2,
                                 " bytes to offset ", offset,
                                 "; a 128-byte swizzle takes up to 128, at multiples of 1024"));
  }
  const std::uint32_t rows = box[1] * box[2] * box[3];
  for (int rank = 0; mask >> rank != 0; ++rank) {
    if ((mask >> rank & 1) == 0) continue;
    Block& to = block(rank);
    for (std::uint32_t piece = 0; piece < 8 * rows; ++piece) {
      to.shared().begin_bulk_copy(actor, offset + 16 * piece, 16);
    }
    transfers_.push_back(
        {tensor, coordinates, offset, mbarrier, &to, to.mbarriers().copier(actor, mbarrier)});
  }
}

// What lies outside the tensor is zero.
void Cluster::deliver(const Transfer& transfer) {
  const TiledTensor& tensor = transfer.tensor;
  const auto& box = tensor.box;
  std::uint32_t row = 0;
  for (std::uint32_t i3 = 0; i3 < box[3]; ++i3) {
    for (std::uint32_t i2 = 0; i2 < box[2]; ++i2) {
      for (std::uint32_t i1 = 0; i1 < box[1]; ++i1, ++row) {
        std::array<std::uint16_t, 64> line{};
        for (std::uint32_t i0 = 0; i0 < box[0]; ++i0) {
          const std::array<std::uint32_t, 4> in_box{i0, i1, i2, i3};
          bool inside = true;
          std::int64_t index = 0;
          for (std::size_t axis = 0; axis < 4; ++axis) {
            const std::int64_t at = std::int64_t{transfer.coordinates[axis]} + in_box[axis];
            inside = inside && at >= 0 && at < tensor.sizes[axis];
            index += at * (axis == 0 ? 1 : tensor.strides[axis - 1]);
          }
          if (inside) line[i0] = tensor.data[index];
        }
        for (std::uint32_t piece = 0; piece < 8; ++piece) {
          const std::uint32_t at = transfer.offset + 128 * row + 16 * (piece ^ row % 8);
          transfer.to->shared().end_bulk_copy(transfer.copier, at, line.data() + 8 * piece, 16);
        }
      }
    }
  }
  transfer.to->mbarriers().deliver(transfer.mbarrier, std::int64_t{row} * 2 * box[0]);
}

}  // namespace monarch::attention::test
