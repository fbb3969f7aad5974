#include "monarch/ops/parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

#ifndef _OPENMP
#error "compile this source with OpenMP: without it at::parallel_for uses one thread"
#endif

namespace monarch::ops {

int64_t num_task_threads() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

void parallel_tasks(int64_t num_tasks, const std::function<void(int64_t, int64_t)>& body) {
  const int64_t num_threads = std::min(num_tasks, num_task_threads());
  std::atomic<int64_t> next{0};
  at::parallel_for(0, num_threads, 1, [&](int64_t begin, int64_t /*end*/) {
    for (int64_t task = next++; task < num_tasks; task = next++) body(task, begin);
  });
}

}  // namespace monarch::ops
