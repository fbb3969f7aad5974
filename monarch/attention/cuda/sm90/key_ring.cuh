// The ring of key rows in shared memory: pieces K_0 V_0 K_1 V_1 .., which one thread of a block
// copies by tensor map, each for all blocks of the cluster in turn, and eight warps consume.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device_sm90.h"
#include "monarch/attention/cuda/monarch_sm90_args.h"
#include "monarch/attention/cuda/sm80/kv_rows.h"
#include "monarch/attention/cuda/sm80/tile.h"
#include "monarch/attention/cuda/sm90/tiles.h"

namespace monarch::attention::cuda::sm90 {

// Where a block's tile is; `exists` is false for what fills up a cluster, which copies along.
struct Place {
  sm80::Tile tile;
  int block = 0;      // query block
  int first_col = 0;  // in it
  bool exists = true;
};

MONARCH_DEVICE Place locate(const MonarchSm90Args& args, int tile_rows) {
  const MonarchForwardArgs& g = args.forward;
  int rest = device::block_index();
  const auto take = [&rest](int count) {
    const int index = rest % count;
    rest /= count;
    return index;
  };
  Place place;
  const int wanted = take(g.column_tiles);
  place.exists = wanted < args.tiles;
  int index = place.exists ? wanted : args.tiles - 1;
  place.tile.first_row = index % g.row_tiles * tile_rows;
  index /= g.row_tiles;
  place.first_col = index % args.block_tiles * kTileCols;
  place.tile.split = take(g.num_splits);
  place.tile.group = take(g.num_groups);
  place.tile.head = take(g.num_heads);
  place.tile.batch = rest;
  place.block = place.tile.group * g.group_blocks + index / args.block_tiles;
  return place;
}

// The key rows that a block walks over.
struct KeyRange {
  int first = 0;
  int count = 0;  // that exist; the last chunk is walked to its end
};
MONARCH_DEVICE KeyRange key_range(const MonarchForwardArgs& g, const sm80::Tile& tile) {
  const int rows = (tile.group + 1) * g.group_kv_blocks * g.block_rows;
  const int chunks = (rows + kChunkRows - 1) / kChunkRows;
  const auto row_of = [&](int split) {
    return static_cast<int>(std::int64_t{chunks} * split / g.num_splits) * kChunkRows;
  };
  const int first = row_of(tile.split);
  const int end = row_of(tile.split + 1);
  return {first, (end < rows ? end : rows) - first};
}

// A place in the ring, and the parity of the phase that its barriers are in.
struct RingPlace {
  std::uint32_t stage = 0;
  std::uint32_t parity = 0;
  MONARCH_DEVICE void advance() {
    if (++stage < kStages) return;
    stage = 0;
    parity ^= 1;
  }
};

template <int kHeadDim>
class KeyRing {
  using L = Layout<kHeadDim>;

 public:
  MONARCH_DEVICE static std::uint32_t offset(const RingPlace& at) {
    return at.stage * L::kPieceBytes;
  }

  // By all threads; ends with a barrier of the cluster. The columns beyond a block's are zero from
  // now on: their weights are, and the product of both has to be.
  MONARCH_DEVICE static void prepare(const MonarchSm90Args& args) {
    if (device::thread_index() == 0) {
      for (std::uint32_t stage = 0; stage < kStages; ++stage) {
        device::mbarrier_init(L::kFull + 8 * stage, 1);
        device::mbarrier_init(L::kEmpty + 8 * stage, kConsumerWarps * args.cluster);
      }
      device::mbarrier_init_fence();
    }
    const int cols = args.forward.block_cols;
    constexpr std::uint32_t kWords = 128 / 4;
    const std::uint32_t words = (kMaxCols - cols) * kWords;
    for (std::uint32_t chunk = 0; chunk < kStages * kStepRows * L::kChunks; ++chunk) {
      const std::uint32_t at = chunk / (kStepRows * L::kChunks) * L::kPieceBytes +
                               chunk % (kStepRows * L::kChunks) * L::kChunkBytes + cols * 128;
      for (std::uint32_t word = device::thread_index(); word < words; word += kThreads) {
        device::store_shared(at + 4 * word, std::uint32_t{0});
      }
    }
    device::fence_async();
    device::cluster_barrier();
  }

  // By one thread of each block of the cluster.
  MONARCH_DEVICE static void produce(const MonarchSm90Args& args, const Place& place) {
    const MonarchForwardArgs& g = args.forward;
    const KeyRange range = key_range(g, place.tile);
    sm80::KvRow row = sm80::kv_row(g, range.first);
    const int query = sm80::first_token(g, place.block) + place.first_col;
    const std::uint32_t row_bytes = L::kChunks * g.block_cols * 128;
    RingPlace at;
    int left = range.count;
    for (int walked = 0; walked < range.count; walked += kChunkRows) {
      for (int step = 0; step < kChunkRows / kStepRows; ++step) {
        int tokens[kStepRows];
        int queries[kStepRows];
        MONARCH_UNROLL
        for (int r = 0; r < kStepRows; ++r) {
          tokens[r] = row.token;
          queries[r] = query + row.offset_in_block(g);
          // Past the end the last row repeats: finite, and masked in the second softmax.
          if (left > 1) row.advance(g);
          --left;
        }
        begin(at, kStepRows * (row_bytes + L::kChunks * L::kQueryChunkBytes));
        copy_rows(args, args.k, place, tokens, at);
        MONARCH_UNROLL
        for (std::uint32_t part = 0; part < kStepRows * L::kChunks; ++part) {
          device::copy_tensor(offset(at) + L::kQueries + part * L::kQueryChunkBytes, args.q,
                              {static_cast<int>(part % L::kChunks * kBoxDepth), place.tile.head,
                               queries[part / L::kChunks], place.tile.batch},
                              L::kFull + 8 * at.stage);
        }
        at.advance();
        begin(at, kStepRows * row_bytes);
        copy_rows(args, args.v, place, tokens, at);
        at.advance();
      }
    }
  }

  // By the consumers.
  MONARCH_DEVICE static void wait(const RingPlace& at) {
    device::mbarrier_wait(L::kFull + 8 * at.stage, at.parity);
  }
  // By every warp of them, when it has read the piece: tells the producers of all blocks.
  MONARCH_DEVICE static void release(const MonarchSm90Args& args, const RingPlace& at) {
    const int lane = device::thread_index() % kWarpSize;
    if (lane < args.cluster) device::mbarrier_arrive(L::kEmpty + 8 * at.stage, lane);
  }

 private:
  MONARCH_DEVICE static void begin(const RingPlace& at, std::uint32_t bytes) {
    device::mbarrier_wait(L::kEmpty + 8 * at.stage, at.parity ^ 1);
    device::mbarrier_expect(L::kFull + 8 * at.stage, bytes);
  }
  // The blocks of a cluster take turns.
  MONARCH_DEVICE static void copy_rows(const MonarchSm90Args& args, const TensorMap& map,
                                       const Place& place, const int (&tokens)[kStepRows],
                                       const RingPlace& at) {
    MONARCH_UNROLL
    for (int part = 0; part < static_cast<int>(kStepRows * L::kChunks); ++part) {
      if (part % args.cluster != device::cluster_rank()) continue;
      const int chunk = part % L::kChunks;
      device::copy_tensor_to((1U << args.cluster) - 1, offset(at) + part * L::kChunkBytes, map,
                             {chunk * static_cast<int>(kBoxDepth), place.tile.head,
                              tokens[part / L::kChunks], place.tile.batch},
                             L::kFull + 8 * at.stage);
    }
  }
};

}  // namespace monarch::attention::cuda::sm90
