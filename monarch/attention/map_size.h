// How much of an attention map a way to attend computes.
#pragma once

#include <cstdint>

#include "monarch/attention/registry.h"

namespace monarch::attention {

// Numbers over all batches and heads of one call, or of several together.
struct MapSize {
  std::int64_t computed = 0;  // entries of the map, or of the two factors in its place
  std::int64_t dense = 0;     // entries of the dense map under the same mask

  // Share that is not computed, 1 - computed / dense; 0 where nothing ran.
  double sparsity() const;
  MapSize& operator+=(const MapSize& other);
  bool operator==(const MapSize&) const = default;
};

// MonarchRT: a pair of blocks of b1 x b2 tokens holds b1 b2^2 numbers of R and b2 b1^2 of L in the
// place of (b1 b2)^2, which is sparsity 1 - 1/b1 - 1/b2 (arXiv 2602.12271, section 3). VMonarch:
// the same with one pair for the whole video, and the exact rows of the first frame where they are
// recomputed.
MapSize map_size(const Problem& problem);

}  // namespace monarch::attention
