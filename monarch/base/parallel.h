// Loops over independent tasks on several threads.
#pragma once

#include <cstdint>
#include <functional>

namespace monarch {

// Calls body(task, thread) once for every task in [0, num_tasks), on the calling thread and up to
// num_threads - 1 workers of a process-wide pool; thread is in [0, num_threads) and no two calls
// with the same thread run at once. Returns when all are done. Tasks start in order; who runs which
// depends on timing, so they should not depend on one another. An exception of a task stops the
// rest and is rethrown here. May be called from several threads, and from within a task.
void parallel_for(int num_threads, std::int64_t num_tasks,
                  const std::function<void(std::int64_t task, int thread)>& body);

// The same contract for loops on somebody else's threads, for callers that have a pool already: two
// pools would take the processors from each other.
using ParallelLoop =
    std::function<void(int num_threads, std::int64_t num_tasks,
                       const std::function<void(std::int64_t task, int thread)>& body)>;

}  // namespace monarch
