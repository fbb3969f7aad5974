#include "monarch/base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace monarch {
namespace {

TEST(ParallelFor, RunsEveryTaskOnceOnDistinctThreads) {
  for (const int threads : {1, 2, 3, 8}) {
    for (const int tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(tasks);
      std::vector<std::atomic<int>> busy(threads);
      parallel_for(threads, tasks, [&](std::int64_t task, int thread) {
        ASSERT_EQ(busy[thread].fetch_add(1), 0);
        ++runs[task];
        busy[thread].fetch_sub(1);
      });
      for (const auto& count : runs) ASSERT_EQ(count, 1);
    }
  }
}

TEST(ParallelFor, PassesExceptionsOn) {
  EXPECT_THROW(parallel_for(3, 100,
                            [](std::int64_t task, int) {
                              if (task == 41) throw std::runtime_error("task 41");
                            }),
               std::runtime_error);
  std::atomic<int> count{0};
  parallel_for(3, 10, [&](std::int64_t, int) { ++count; });  // the pool is unharmed
  EXPECT_EQ(count, 10);
}

TEST(ParallelFor, NestsAndServesSeveralCallers) {
  std::atomic<int> count{0};
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        parallel_for(3, 4, [&](std::int64_t, int) {
          parallel_for(2, 5, [&](std::int64_t, int) { ++count; });
        });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(count, 4 * 20 * 4 * 5);
}

}  // namespace
}  // namespace monarch
