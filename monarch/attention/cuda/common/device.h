// What the CUDA kernels are written with: one small vocabulary, two meanings.
//
// Compiled by nvcc the functions are instructions of a GPU (device_nvcc.h). Compiled as C++ with
// MONARCH_CUDA_EMULATION naming a header, that header gives them the same meaning on a CPU,
// checked: the tests' emulator (tests/attention/cuda_emulator). Kernels therefore use nothing but
// these functions, global pointers and plain C++.
//
// Shared memory is addressed by byte offsets from the start of the block's dynamic shared memory.
// Matrix fragments are those of PTX's mma.sync; lane = 4 g + t, with g in 0..7 and t in 0..3:
//   8 x 8 matrix of 16-bit elements   one register: row g, columns 2t and 2t+1
//   A of 16 x 16                      a[0] rows 0-7, columns 0-7; a[1] rows 8-15, columns 0-7;
//                                     a[2] rows 0-7, columns 8-15; a[3] rows 8-15, columns 8-15
//   B of 16 x 8, held as B^T          b[0] rows 0-7 of B (columns of B^T), b[1] rows 8-15
//   C of 16 x 8, float                c[0], c[1] row g, columns 2t, 2t+1; c[2], c[3] row g+8
//
//   thread_index(), block_index()     block_index is one-dimensional
//   barrier()                         all threads of the block
//   load_shared<T>(offset)            T of 2, 4, 8 or 16 bytes, aligned to its size
//   store_shared<T>(offset, value)
//   shuffle_xor(value, mask), any(predicate)         all 32 lanes
//   load_matrices(regs, offset)       four 8 x 8 matrices; lane 8 n + r names row r of matrix n
//   load_matrices_transposed(regs, offset)
//   transposed(matrix)                an 8 x 8 matrix in registers, transposed
//   multiply<T>(c, a, b)              C += A B, 16 x 8 x 16, and 16 x 8 x 8 (a[2], b one register)
//   copy_async(offset, source, valid) 16 bytes from global to shared; zeros if not valid
//   copy_async_commit(), copy_async_wait<N>()        at most N committed groups stay in flight
//   exp2(x), log2(x), square_root(x), pack<T>(low, high), unpack<T>(word, float (&)[2])
#pragma once

#include "monarch/attention/cuda/common/element.h"

#if defined(MONARCH_CUDA_EMULATION)
#include MONARCH_CUDA_EMULATION
#else
#include "monarch/attention/cuda/common/device_nvcc.h"
#endif
