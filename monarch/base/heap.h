// How the C library treats freed memory.
#pragma once

namespace monarch {

// Keeps freed memory in the process instead of returning large blocks to the system at once.
// Tensors of a training step are allocated and freed over and over; without this every one of them
// costs page faults (15 % of a small model's step). All threads share one heap, or each of them
// comes to keep what only it can use, and a server grows for minutes. For programs, early in
// main(); does nothing where the C library is not glibc.
void keep_freed_memory();

// Returns the pages of which nothing is in use to the system, once, wherever in the heap they lie.
// For programs that run for long with keep_freed_memory(), now and then and after a large part of
// their work ended; takes some milliseconds and costs page faults where the memory is used again.
// From any thread; does nothing where the C library is not glibc.
void return_freed_memory();

}  // namespace monarch
