#include "monarch/training/data/sampler.h"

#include <ATen/ATen.h>

#include "monarch/base/error.h"
#include "monarch/pipelines/noise.h"

namespace monarch::training {

std::vector<int64_t> data_order(int64_t n, int64_t world, int64_t rank) {
  MONARCH_CHECK(n >= world && rank >= 0 && rank < world, "[monarch_training] too few samples: ", n,
                ", for ", world, world == 1 ? " process" : " processes",
                "; give at least one sample for each");
  const at::Tensor permutation = at::randperm(n, pipelines::seeded_generator(0));
  std::vector<int64_t> order;
  for (int64_t i = rank; i < n / world * world; i += world)
    order.push_back(permutation[i].item<int64_t>());
  return order;
}

}  // namespace monarch::training
