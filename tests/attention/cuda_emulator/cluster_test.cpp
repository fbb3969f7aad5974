// The emulator of what sm_90a adds catches what it is there to catch, and its layouts are those of
// PTX.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "monarch/attention/cuda/common/device_sm90.h"
#include "tests/attention/cuda_emulator/error_of.h"

namespace monarch::attention::test {
namespace {

namespace dev = cuda::device;
using cuda::TensorMap;

// Elements of a tensor as their numbers, exact in bf16 up to 256.
std::vector<std::uint16_t> numbered(std::size_t count) {
  std::vector<std::uint16_t> values(count);
  for (std::size_t index = 0; index < count; ++index) {
    values[index] = f32_to_bf16(static_cast<float>(index % 251));
  }
  return values;
}

// [1, tokens, 1, depth], in boxes of `box` tokens.
TensorMap rows_of(const std::vector<std::uint16_t>& values, std::uint32_t depth,
                  std::uint32_t box) {
  const auto tokens = static_cast<std::uint32_t>(values.size() / depth);
  return dev::encode(
      {values.data(), {depth, 1, tokens, 1}, {depth, depth, std::int64_t{tokens} * depth}, box});
}

constexpr std::uint32_t kBarrier = 32 << 10;  // behind the tiles of these tests
constexpr std::uint32_t kOther = kBarrier + 8;
constexpr std::uint32_t kBytes = kBarrier + 64;

bool is_first() { return dev::thread_index() == 0; }
void make_barriers(int count) {
  if (is_first()) {
    dev::mbarrier_init(kBarrier, count);
    dev::mbarrier_init(kOther, count);
    dev::mbarrier_init_fence();
  }
  dev::cluster_barrier();
}

TEST(CudaCluster, BarriersOfSomeThreadsOrderThem) {
  const auto kernel = [](int threads) {
    return [threads] {
      const int me = dev::thread_index();
      if (me >= 64) return;
      dev::store_shared(static_cast<std::uint32_t>(4 * me), me);
      dev::barrier(1 + me / threads, threads);
      dev::load_shared<int>(static_cast<std::uint32_t>(4 * (63 - me)));
    };
  };
  EXPECT_EQ(error_of({.threads = 96, .shared_bytes = 256}, kernel(64)), "no error");
  EXPECT_EQ(error_of({.threads = 96, .shared_bytes = 256}, kernel(32)),
            "block 0: thread 32 writes offset 128 which thread 31 read, with no barrier between");
  EXPECT_EQ(error_of({.threads = 64}, [] { dev::barrier(1, dev::thread_index() < 32 ? 32 : 64); }),
            "block 0: threads wait for each other: from 0 on at its end, from 32 on at barrier of "
            "some");
}

TEST(CudaCluster, MbarriersOrderThreadsPhaseByPhase) {
  // Thread 0 writes for the second warp, which frees the place for the next round.
  const auto kernel = [](bool wait_for_writer) {
    return [wait_for_writer] {
      make_barriers(1);
      for (std::uint32_t round = 0; round < 3; ++round) {
        if (is_first()) {
          dev::mbarrier_wait(kOther, (round + 1) % 2);
          dev::store_shared(0, round);
          dev::mbarrier_arrive(kBarrier, 0);
        } else if (dev::thread_index() == 32) {
          if (wait_for_writer) dev::mbarrier_wait(kBarrier, round % 2);
          EXPECT_EQ(dev::load_shared<std::uint32_t>(0), round);
          dev::mbarrier_arrive(kOther, 0);
        }
      }
    };
  };
  const Grid grid{.threads = 64, .shared_bytes = kBytes};
  EXPECT_EQ(error_of(grid, kernel(true)), "no error");
  EXPECT_EQ(error_of(grid, kernel(false)),
            "block 0: thread 32 reads offset 0 which thread 0 wrote, with no barrier between");
}

TEST(CudaCluster, MisusedMbarriersAreNamed) {
  const Grid grid{.shared_bytes = kBytes};
  EXPECT_EQ(error_of(grid, [] { dev::mbarrier_arrive(kBarrier, 0); }),
            "block 0: thread 0 uses offset 32768, which is no mbarrier");
  EXPECT_EQ(error_of(grid,
                     [] {
                       if (is_first()) dev::mbarrier_init(kBarrier, 1);
                       if (dev::thread_index() == 1) dev::mbarrier_arrive(kBarrier, 0);
                     }),
            "block 0: thread 1 uses the mbarrier at 32768 which thread 0 made, with no barrier "
            "between");
  EXPECT_EQ(error_of(grid,
                     [] {
                       make_barriers(2);
                       if (is_first()) {
                         dev::mbarrier_arrive(kBarrier, 0);
                         dev::mbarrier_wait(kBarrier, 0);
                       }
                     }),
            "block 0: threads wait for each other: from 0 on at mbarrier_wait, from 1 on at its "
            "end; the mbarrier at 32768 lacks 1 arrivals and 0 bytes");
  EXPECT_EQ(error_of(grid,
                     [] {
                       make_barriers(1);
                       if (is_first()) dev::mbarrier_expect(kBarrier, 16);
                       dev::barrier();
                       if (is_first()) dev::mbarrier_arrive(kBarrier, 0);
                     }),
            "block 0: thread 0 arrives at the mbarrier at 32768 where all 1 of its phase have "
            "arrived");
}

TEST(CudaCluster, BlocksOfAClusterWaitForEachOther) {
  std::vector<int> ranks(6, -1);
  EXPECT_EQ(error_of({.blocks = 6, .shared_bytes = kBytes, .cluster = 3},
                     [&] {
                       make_barriers(3);
                       const int rank = dev::cluster_rank();
                       if (dev::thread_index() < 3) {
                         dev::mbarrier_arrive(kBarrier, dev::thread_index());
                       }
                       dev::mbarrier_wait(kBarrier, 0);
                       if (is_first()) ranks[static_cast<std::size_t>(dev::block_index())] = rank;
                       dev::cluster_barrier();
                     }),
            "no error");
  EXPECT_EQ(ranks, (std::vector<int>{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(error_of({.blocks = 2, .shared_bytes = kBytes, .cluster = 2},
                     [] {
                       make_barriers(1);
                       if (dev::cluster_rank() == 0) return;
                       dev::barrier();
                       if (is_first()) dev::mbarrier_arrive(kBarrier, 0);
                     }),
            "block 1: block 0 has returned, and another of its cluster works on it");
}

// Two boxes of [12, 72]: the second begins in the middle and ends outside.
TEST(CudaCluster, TilesComeSwizzledToEveryBlockOfTheMask) {
  constexpr std::uint32_t kDepth = 72;
  const std::vector<std::uint16_t> values = numbered(12 * kDepth);
  const TensorMap map = rows_of(values, kDepth, 8);
  const auto value = [&](std::uint32_t token, std::uint32_t d) {
    return token < 12 && d < kDepth ? bf16_to_f32(values[token * kDepth + d]) : 0;
  };
  EXPECT_EQ(error_of({.blocks = 2, .shared_bytes = kBytes, .cluster = 2},
                     [&] {
                       make_barriers(1);
                       if (is_first()) {
                         dev::mbarrier_expect(kBarrier, 2 * 1024);
                         const bool second = dev::cluster_rank() == 1;
                         dev::copy_tensor_to(3, second ? 1024 : 0, map,
                                             {second ? 64 : 0, 0, second ? 7 : 0, 0}, kBarrier);
                       }
                       dev::mbarrier_wait(kBarrier, 0);
                       for (std::uint32_t row = 0; row < 16; ++row) {
                         for (std::uint32_t d = 0; d < 64; ++d) {
                           const std::uint32_t at =
                               128 * row + 16 * (d / 8 ^ row % 8) + 2 * (d % 8);
                           const auto got = bf16_to_f32(dev::load_shared<std::uint16_t>(at));
                           EXPECT_EQ(got, row < 8 ? value(row, d) : value(row - 1, 64 + d));
                         }
                       }
                       dev::cluster_barrier();
                     }),
            "no error");
}

TEST(CudaCluster, TilesComeLateAndAreWaitedFor) {
  const std::vector<std::uint16_t> values = numbered(16 * 64);
  const TensorMap map = rows_of(values, 64, 8);
  const Grid grid{.shared_bytes = kBytes};
  const auto kernel = [&](std::uint32_t bytes, bool wait, bool twice) {
    return [&, bytes, wait, twice] {
      make_barriers(1);
      if (is_first()) {
        dev::mbarrier_expect(kBarrier, bytes);
        dev::copy_tensor(0, map, {0, 0, 0, 0}, kBarrier);
        if (twice) dev::copy_tensor(0, map, {0, 0, 8, 0}, kBarrier);
      }
      if (wait) dev::mbarrier_wait(kBarrier, 0);
      if (is_first()) dev::load_shared<int>(1020);
    };
  };
  EXPECT_EQ(error_of(grid, kernel(1024, true, false)), "no error");
  EXPECT_EQ(error_of(grid, kernel(1024, false, false)),
            "block 0: thread 0 reads offset 1020 while an asynchronous copy of thread 0 to it is "
            "in flight");
  EXPECT_EQ(error_of(grid, kernel(1024, true, true)),
            "block 0: thread 0 copies to offset 0 while another copy to it is in flight");
  EXPECT_EQ(error_of(grid, kernel(2048, true, false)),
            "block 0: threads wait for each other: from 0 on at mbarrier_wait; the mbarrier at "
            "32768 lacks 0 arrivals and 1024 bytes");
  EXPECT_EQ(error_of(grid,
                     [&] {
                       make_barriers(2);
                       if (dev::thread_index() < 2) {
                         dev::mbarrier_expect(kBarrier, 256);
                         if (is_first()) dev::copy_tensor(0, map, {0, 0, 0, 0}, kBarrier);
                       }
                       dev::mbarrier_wait(kBarrier, 0);
                     }),
            "the mbarrier at 32768 got 512 bytes more than were expected");
  EXPECT_EQ(error_of(grid,
                     [&] {
                       make_barriers(1);
                       if (is_first()) dev::copy_tensor(0, map, {0, 0, 0, 0}, kBarrier);
                     }),
            "block 0 returned with bulk copies in flight");
  EXPECT_EQ(error_of(grid,
                     [&] {
                       make_barriers(1);
                       dev::store_shared(static_cast<std::uint32_t>(4 * dev::thread_index()), 1);
                       if (is_first()) dev::copy_tensor(0, map, {0, 0, 0, 0}, kBarrier);
                     }),
            "block 0: thread 0 writes offset 124 which thread 31 wrote, with no barrier between");
}

// A [64, 64] and B^T [8, 64] as rows of 128 bytes, or A^T [64, 64] and B [64, 8], B plain.
template <typename T>
void check_products(bool outer) {
  const auto a_of = [](std::size_t m, std::size_t k) { return float((m * 7 + k * 3) % 11) - 5; };
  const auto b_of = [](std::size_t k, std::size_t n) { return float((k * 5 + n * 2) % 13) - 6; };
  const auto narrow = [](float x) {
    return std::is_same_v<T, cuda::Bf16> ? f32_to_bf16(x) : f32_to_f16(x);
  };
  std::vector<std::uint16_t> a(64 * 64);
  std::vector<std::uint16_t> b(8 * 64);
  for (std::size_t m = 0; m < 64; ++m) {
    for (std::size_t k = 0; k < 64; ++k) a[outer ? k * 64 + m : m * 64 + k] = narrow(a_of(m, k));
  }
  for (std::size_t n = 0; n < 8; ++n) {
    for (std::size_t k = 0; k < 64; ++k) b[n * 64 + k] = narrow(b_of(k, n));
  }
  const TensorMap a_map = rows_of(a, 64, 64);
  const TensorMap b_map = rows_of(b, 64, 8);
  constexpr std::uint32_t kB = 8192;
  std::vector<float> got(64 * 8);
  EXPECT_EQ(
      error_of({.threads = 128, .shared_bytes = kBytes},
               [&] {
                 make_barriers(1);
                 const auto me = static_cast<std::uint32_t>(dev::thread_index());
                 if (is_first()) {
                   dev::mbarrier_expect(kBarrier, outer ? 8192 : 9216);
                   dev::copy_tensor(0, a_map, {0, 0, 0, 0}, kBarrier);
                   if (!outer) dev::copy_tensor(kB, b_map, {0, 0, 0, 0}, kBarrier);
                 }
                 if (outer && me < 64) {
                   for (std::uint32_t n = 0; n < 8; n += 2) {
                     dev::store_shared(kB + 16 * me + 2 * n,
                                       dev::pack<T>(b_of(me, n), b_of(me, n + 1)));
                   }
                   dev::fence_async();
                 }
                 dev::barrier();
                 dev::mbarrier_wait(kBarrier, 0);
                 float d[1][4] = {{1, 1, 1, 1}};
                 dev::products_begin();
                 for (std::uint32_t k = 0; k < 4; ++k) {
                   if (outer) {
                     dev::multiply_async<T, true>(d[0], dev::swizzled_matrix(2048 * k),
                                                  dev::plain_matrix(kB + 256 * k), k > 0);
                   } else {
                     dev::multiply_async<T, false>(d[0], dev::swizzled_matrix(32 * k),
                                                   dev::swizzled_matrix(kB + 32 * k), true);
                   }
                 }
                 dev::products_commit();
                 dev::products_wait<0>(d);
                 for (std::uint32_t entry = 0; entry < 4; ++entry) {
                   got[(me / 32 * 16 + me % 32 / 4 + entry / 2 * 8) * 8 + me % 4 * 2 + entry % 2] =
                       d[0][entry];
                 }
               }),
      "no error");
  for (std::size_t m = 0; m < 64; ++m) {
    for (std::size_t n = 0; n < 8; ++n) {
      float want = outer ? 0 : 1;
      for (std::size_t k = 0; k < 64; ++k) want += a_of(m, k) * b_of(k, n);
      ASSERT_EQ(got[m * 8 + n], want) << m << ' ' << n;
    }
  }
}

TEST(CudaCluster, MatrixProducts) {
  for (const bool outer : {false, true}) {
    check_products<cuda::Bf16>(outer);
    check_products<cuda::F16>(outer);
  }
}

// One product of zeros (rows of 16 bytes, A behind B), with its mistakes.
struct Mistakes {
  bool begin = true;
  bool fence = true;
  bool wait = true;
  bool overwrite = false;  // while it runs
};
std::string error_of_product(const Mistakes& m, float* before = nullptr, float* after = nullptr) {
  return error_of({.threads = 128, .shared_bytes = 4096}, [&, m] {
    const auto me = static_cast<std::uint32_t>(dev::thread_index());
    for (std::uint32_t word = me; word < 1024; word += 128) dev::store_shared(4 * word, 0);
    if (m.fence) dev::fence_async();
    dev::barrier();
    float d[1][4] = {};
    if (m.begin) dev::products_begin();
    dev::multiply_async<cuda::Bf16, true>(d[0], dev::plain_matrix(1024), dev::plain_matrix(0),
                                          true);
    dev::products_commit();
    if (before != nullptr && is_first()) *before = d[0][0];
    if (m.overwrite && is_first()) dev::store_shared(0, 1);
    if (m.wait) dev::products_wait<0>(d);
    if (after != nullptr && is_first()) *after = d[0][0];
  });
}

TEST(CudaCluster, MisusedProductsAreNamed) {
  float before = 0;
  float after = -1;
  EXPECT_EQ(error_of_product({}, &before, &after), "no error");
  EXPECT_TRUE(std::isnan(before));
  EXPECT_EQ(after, 0);
  EXPECT_EQ(error_of_product({.begin = false}),
            "block 0: thread 127 begins a matrix product without products_begin()");
  EXPECT_EQ(error_of_product({.fence = false}),
            "block 0: a matrix product of thread 0 reads offset 1024 which thread 0 wrote, with no "
            "fence_async() after it");
  EXPECT_EQ(error_of_product({.wait = false}), "block 0 returned with matrix products in flight");
  EXPECT_EQ(error_of_product({.overwrite = true}),
            "block 0: thread 0 writes offset 0 which a matrix product of warp 0 read, with no "
            "barrier between");
}

}  // namespace
}  // namespace monarch::attention::test
