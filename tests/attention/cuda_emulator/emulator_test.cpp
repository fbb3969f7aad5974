// The emulator catches what it is there to catch, and its warp operations are those of PTX.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "monarch/attention/cuda/common/device.h"
#include "tests/attention/cuda_emulator/error_of.h"

namespace monarch::attention::test {
namespace {

namespace dev = cuda::device;

std::uint32_t word_at(int index) { return static_cast<std::uint32_t>(4 * index); }

TEST(CudaEmulator, BarriersOrderThreads) {
  const Grid grid{.blocks = 2, .threads = 64, .shared_bytes = 256};
  std::vector<int> seen(128);
  const auto kernel = [&](bool with_barrier) {
    return [&, with_barrier] {
      const int me = dev::thread_index();
      dev::store_shared(word_at(me), me + 100 * dev::block_index());
      if (with_barrier) dev::barrier();
      seen[64 * dev::block_index() + me] = dev::load_shared<int>(word_at(63 - me));
    };
  };
  EXPECT_EQ(error_of(grid, kernel(true)), "no error");
  for (int index = 0; index < 128; ++index) {
    EXPECT_EQ(seen[index], 63 - index % 64 + index / 64 * 100);
  }
  EXPECT_EQ(error_of(grid, kernel(false)),
            "block 0: thread 32 writes offset 128 which thread 31 read, with no barrier between");
}

TEST(CudaEmulator, ReadersAreWaitedForToo) {
  EXPECT_EQ(error_of({.shared_bytes = 128},
                     [] {
                       const int me = dev::thread_index();
                       if (me == 0) dev::store_shared(0, 1);
                       dev::barrier();
                       if (me == 3) dev::load_shared<int>(0);
                       if (me == 5) dev::store_shared(0, 2);
                     }),
            "block 0: thread 5 writes offset 0 which thread 3 read, with no barrier between");
}

TEST(CudaEmulator, AsynchronousCopiesArriveAtTheWaitAndNoSooner) {
  alignas(16) std::array<float, 8> source{1, 2, 3, 4, 5, 6, 7, 8};
  const Grid grid{.shared_bytes = 64};
  std::array<float, 3> got{};
  const auto kernel = [&](bool wait) {
    return [&, wait] {
      if (dev::thread_index() == 0) {
        dev::copy_async(0, source.data(), true);
        dev::copy_async(16, source.data(), false);
        dev::copy_async_commit();
        dev::copy_async(32, source.data() + 4, true);
        dev::copy_async_commit();
        if (wait) dev::copy_async_wait<1>();
      }
      dev::barrier();
      if (dev::thread_index() == 1) {
        got = {dev::load_shared<float>(4), dev::load_shared<float>(20),
               dev::load_shared<float>(60)};
      }
      if (dev::thread_index() == 2) dev::load_shared<float>(36);
      dev::barrier();
      dev::copy_async_wait<0>();
    };
  };
  EXPECT_EQ(error_of(grid, kernel(false)),
            "block 0: thread 1 reads offset 4 while an asynchronous copy of thread 0 to it is in "
            "flight");
  EXPECT_EQ(error_of(grid, kernel(true)),
            "block 0: thread 2 reads offset 36 while an asynchronous copy of thread 0 to it is in "
            "flight");
  EXPECT_EQ(got[0], 2);
  EXPECT_EQ(got[1], 0);
  EXPECT_TRUE(std::isnan(got[2]));  // never written
}

TEST(CudaEmulator, AWaitIsNotABarrier) {
  alignas(16) const std::array<float, 4> source{};
  EXPECT_EQ(error_of({.shared_bytes = 16},
                     [&] {
                       if (dev::thread_index() == 0) {
                         dev::copy_async(0, source.data(), true);
                         dev::copy_async_commit();
                         dev::copy_async_wait<0>();
                       }
                       if (dev::thread_index() == 1) dev::load_shared<float>(0);
                     }),
            "block 0: thread 1 reads offset 0 which thread 0 wrote, with no barrier between");
}

TEST(CudaEmulator, CopiesMayNotOvertakeReaders) {
  alignas(16) const std::array<float, 4> source{};
  EXPECT_EQ(error_of({.shared_bytes = 16},
                     [&] {
                       if (dev::thread_index() == 0) dev::load_shared<float>(0);
                       if (dev::thread_index() == 1) dev::copy_async(0, source.data(), true);
                     }),
            "block 0: thread 1 writes offset 0 which thread 0 read, with no barrier between");
}

TEST(CudaEmulator, NamesCopiesLeftInFlight) {
  alignas(16) const std::array<float, 4> source{};
  EXPECT_EQ(error_of({.shared_bytes = 1024},
                     [&] {
                       dev::copy_async(16U * dev::thread_index(), source.data(), true);
                       dev::copy_async_commit();
                     }),
            "block 0: thread 0 returned with asynchronous copies in flight");
}

TEST(CudaEmulator, BoundsAndAlignment) {
  EXPECT_EQ(
      error_of({.shared_bytes = 126}, [] { dev::load_shared<int>(4U * dev::thread_index()); }),
      "block 0: thread 31 reads bytes 124..128 of 126 bytes of shared memory");
  EXPECT_EQ(error_of({.shared_bytes = 128}, [] { dev::store_shared(2, 1.0F); }),
            "block 0: thread 0 writes 4 bytes at the misaligned offset 2");
}

TEST(CudaEmulator, DivergenceAndDeadlockAreNamed) {
  EXPECT_EQ(error_of({},
                     [] {
                       if (dev::thread_index() < 7) {
                         dev::any(true);
                       } else {
                         dev::shuffle_xor(1, 1);
                       }
                     }),
            "block 0: thread 7 is at shuffle_xor while other lanes of its warp are at any");
  EXPECT_EQ(error_of({.threads = 64},
                     [] {
                       if (dev::thread_index() < 32) dev::barrier();
                     }),
            "block 0: threads wait for each other: from 0 on at barrier, from 32 on at its end");
  EXPECT_EQ(error_of({},
                     [] {
                       if (dev::thread_index() % 2 == 0) dev::any(false);
                       dev::barrier();
                     })
                .substr(0, 71),
            "block 0: threads wait for each other: from 0 on at any, from 1 on at ba");
}

TEST(CudaEmulator, Shuffles) {
  std::array<int, 32> got{};
  std::array<bool, 32> one{};
  launch({}, [&] {
    const int me = dev::thread_index();
    got[me] = dev::shuffle_xor(me * me, 5);
    one[me] = dev::any(me == 9) && !dev::any(me == 32);
  });
  for (int lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(got[lane], (lane ^ 5) * (lane ^ 5));
    EXPECT_TRUE(one[lane]);
  }
}

// A product written as the kernels write theirs: A [16, 16] and B^T [8, 16] through load_matrices,
// and B [16, 8] through the transposing load.
template <typename T>
void check_product(bool transpose, bool eight) {
  const int inner = eight ? 8 : 16;
  const auto a_of = [](int row, int k) { return float((row * 7 + k * 3) % 11 - 5); };
  const auto b_of = [](int k, int column) { return float((k * 5 + column * 2) % 13 - 6); };
  std::array<float, 16 * 8> got{};
  launch({.shared_bytes = 2 * 512}, [&] {
    const int lane = dev::thread_index();
    for (int entry = lane; entry < 128; entry += 32) {  // pairs of A
      const int row = entry / 8;
      const int k = entry % 8 * 2;
      dev::store_shared(word_at(entry), dev::pack<T>(a_of(row, k), a_of(row, k + 1)));
    }
    for (int entry = lane; entry < 64; entry += 32) {
      if (transpose) {  // rows are k
        const int k = entry / 4;
        const int n = entry % 4 * 2;
        dev::store_shared(512 + word_at(entry), dev::pack<T>(b_of(k, n), b_of(k, n + 1)));
      } else {  // rows are columns of B
        const int n = entry / 8;
        const int k = entry % 8 * 2;
        dev::store_shared(512 + word_at(entry), dev::pack<T>(b_of(k, n), b_of(k + 1, n)));
      }
    }
    dev::barrier();
    std::uint32_t a[4];
    std::uint32_t b[4];
    const std::uint32_t row = lane % 8;
    const std::uint32_t matrix = lane / 8;
    dev::load_matrices(a, (row + matrix % 2 * 8) * 32 + matrix / 2 * 16);
    if (transpose) {
      dev::load_matrices_transposed(b, 512 + (row + matrix % 2 * 8) * 16);
    } else {
      dev::load_matrices(b, 512 + row * 32 + matrix % 2 * 16);
    }
    float c[4] = {1, 1, 1, 1};
    if (eight) {
      dev::multiply<T>(c, {a[0], a[1]}, b[0]);
    } else {
      dev::multiply<T>(c, a, {b[0], b[1]});
    }
    for (int entry = 0; entry < 4; ++entry) {
      got[(lane / 4 + entry / 2 * 8) * 8 + lane % 4 * 2 + entry % 2] = c[entry];
    }
  });
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float want = 1;
      for (int k = 0; k < inner; ++k) want += a_of(row, k) * b_of(k, column);
      EXPECT_EQ(got[row * 8 + column], want) << row << ' ' << column;
    }
  }
}

TEST(CudaEmulator, Products) {
  for (const bool transpose : {false, true}) {
    for (const bool eight : {false, true}) {
      check_product<cuda::Bf16>(transpose, eight);
      check_product<cuda::F16>(transpose, eight);
    }
  }
}

TEST(CudaEmulator, TransposesInRegisters) {
  std::array<std::uint32_t, 32> got{};
  launch({}, [&] {
    const std::uint32_t lane = dev::thread_index();
    const std::uint32_t first = lane / 4 * 8 + lane % 4 * 2;  // row-major number of the element
    got[lane] = dev::transposed(first | (first + 1) << 16);
  });
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    const std::uint32_t first = lane % 4 * 2 * 8 + lane / 4;
    EXPECT_EQ(got[lane], first | (first + 8) << 16);
  }
}

TEST(CudaEmulator, PairsOfElements) {
  float values[2];
  dev::unpack<cuda::Bf16>(dev::pack<cuda::Bf16>(1.5F, -3), values);
  EXPECT_EQ(values[0], 1.5F);
  EXPECT_EQ(values[1], -3);
  dev::unpack<cuda::F16>(dev::pack<cuda::F16>(0.1F, 70000), values);
  EXPECT_EQ(values[0], f16_to_f32(f32_to_f16(0.1F)));
  EXPECT_TRUE(std::isinf(values[1]));
}

}  // namespace
}  // namespace monarch::attention::test
