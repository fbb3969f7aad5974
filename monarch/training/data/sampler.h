// The order in which samples are seen: the same in every pass, whatever the seed, as in the
// original (its distributed sampler is never told the epoch).
#pragma once

#include <cstdint>
#include <vector>

namespace monarch::training {

// Sample numbers of one pass of rank `rank` of `world`: a permutation of 0..n-1, cut to a multiple
// of the world size, of which the ranks take turns. Throws if there are fewer samples than ranks.
std::vector<int64_t> data_order(int64_t n, int64_t world = 1, int64_t rank = 0);

}  // namespace monarch::training
