// Loops over tasks on Torch's own threads.
//
// at::parallel_for runs serially in sources that are compiled without OpenMP, which ours are; and a
// second thread pool would fight with Torch's, whose threads spin for a while after each operator.
// So there is one place that is compiled with OpenMP.
#pragma once

#include <cstdint>
#include <functional>

namespace monarch::ops {

// Threads a loop may use: at::get_num_threads(), or 1 within another parallel loop.
int64_t num_task_threads();

// Calls body(task, thread) once for each task in [0, num_tasks), in any order, with 0 <= thread <
// num_task_threads(). Tasks are handed out one by one, so they may differ in length. An exception
// ends the loop and is thrown to the caller.
void parallel_tasks(int64_t num_tasks,
                    const std::function<void(int64_t task, int64_t thread)>& body);

}  // namespace monarch::ops
