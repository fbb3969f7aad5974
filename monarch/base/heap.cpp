#include "monarch/base/heap.h"

#include <climits>
#include <cstdlib>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace monarch {

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);                // large blocks come from the heap
  mallopt(M_TRIM_THRESHOLD, INT_MAX);    // whose end is given back only beyond 2 GiB
  mallopt(M_TOP_PAD, 64 * 1024 * 1024);  // and which grows in large steps
  mallopt(M_ARENA_MAX, 1);               // one for all threads: what one frees serves the others
#endif
}

void return_freed_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace monarch
