#include "monarch/ops/parallel.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace monarch::ops {
namespace {

TEST(Parallel, EachTaskRunsOnce) {
  const int64_t num_threads = num_task_threads();
  for (const int64_t num_tasks : {0, 1, 2, 100}) {
    std::vector<std::atomic<int>> runs(100);
    parallel_tasks(num_tasks, [&](int64_t task, int64_t thread) {
      ASSERT_LT(thread, num_threads);
      ++runs[task];
    });
    for (int64_t task = 0; task < 100; ++task) EXPECT_EQ(runs[task], task < num_tasks ? 1 : 0);
  }
}

TEST(Parallel, UsesTorchsThreads) {
  const int threads_before = at::get_num_threads();
  at::set_num_threads(2);
  std::atomic<int> waiting{0};
  // Two tasks that wait for each other: done only if two threads run.
  parallel_tasks(2, [&](int64_t, int64_t) {
    ++waiting;
    for (int i = 0; i < 10000 && waiting < 2; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  at::set_num_threads(threads_before);
  EXPECT_EQ(waiting, 2);
}

TEST(Parallel, NestedLoopsAreSerial) {
  std::atomic<int> inner_runs{0};
  parallel_tasks(4, [&](int64_t, int64_t) {
    parallel_tasks(3, [&](int64_t, int64_t thread) {
      EXPECT_EQ(thread, 0);
      ++inner_runs;
    });
  });
  EXPECT_EQ(inner_runs, 12);
}

TEST(Parallel, ThrowsToTheCaller) {
  EXPECT_THROW(parallel_tasks(8,
                              [](int64_t task, int64_t) {
                                if (task == 5) throw std::runtime_error("five");
                              }),
               std::runtime_error);
}

}  // namespace
}  // namespace monarch::ops
