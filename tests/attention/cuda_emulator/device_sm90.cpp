#include "monarch/attention/cuda/common/device_sm90.h"

#include <cstring>

#include "monarch/base/error.h"

namespace monarch::attention::cuda::device {

using test::EmulationError;
using test::TiledTensor;
using test::Warpgroup;

TensorMap encode(const TensorTiles& tiles) {
  const TiledTensor tensor{
      tiles.data, tiles.sizes, {kBoxDepth, 1, tiles.box_tokens, 1}, tiles.strides};
  TensorMap map;
  static_assert(sizeof(tensor) <= sizeof(map.bytes));
  std::memcpy(map.bytes.data(), &tensor, sizeof(tensor));
  return map;
}

void mbarrier_init(std::uint32_t offset, int count) {
  Block& block = Block::current();
  block.mbarriers().init(block.actor(), offset, count);
}

void mbarrier_expect(std::uint32_t offset, std::uint32_t bytes) {
  Block& block = Block::current();
  block.mbarriers().expect(block.actor(), offset, bytes);
}

void mbarrier_arrive(std::uint32_t offset, int rank) {
  Block& block = Block::current();
  block.cluster().block(rank).mbarriers().arrive(block.actor(), offset);
}

void mbarrier_wait(std::uint32_t offset, std::uint32_t parity) {
  Block::current().wait_for_mbarrier(offset, parity);
}

void copy_tensor_to(std::uint32_t mask, std::uint32_t offset, const TensorMap& map,
                    const TensorPoint& at, std::uint32_t mbarrier) {
  TiledTensor tensor;
  std::memcpy(&tensor, map.bytes.data(), sizeof(tensor));
  Block::current().cluster().copy_tensor(offset, tensor, {at.depth, at.head, at.token, at.batch},
                                         mbarrier, mask);
}

void products_begin() { Block::current().fence_products(true); }

void products_commit() {
  Block::current().warpgroup_operation(
      "products_commit", nullptr,
      [](Warpgroup& warpgroup, void* const* /*lanes*/) { warpgroup.commit(); });
}

namespace detail {

void wait_for_products(int in_flight) {
  Block& block = Block::current();
  block.warpgroup_operation(
      "products_wait", nullptr,
      [in_flight](Warpgroup& warpgroup, void* const* /*lanes*/) { warpgroup.wait(in_flight); });
  block.fence_products(false);
}

void issue(AsyncProduct& product) {
  Block& block = Block::current();
  if (!block.products_fenced()) {
    throw EmulationError(
        str_cat("thread ", block.thread(), " begins a matrix product without products_begin()"));
  }
  block.warpgroup_operation(
      "multiply_async", &product, [](Warpgroup& warpgroup, void* const* lanes) {
        const auto& first = *static_cast<const AsyncProduct*>(lanes[0]);
        Warpgroup::Product whole{{},          first.a,          first.b,
                                 first.outer, first.accumulate, first.to_float};
        for (std::size_t lane = 0; lane < Warpgroup::kThreads; ++lane) {
          const auto& mine = *static_cast<const AsyncProduct*>(lanes[lane]);
          if (mine.a != first.a || mine.b != first.b || mine.outer != first.outer ||
              mine.accumulate != first.accumulate || mine.to_float != first.to_float) {
            throw EmulationError("threads of a warpgroup disagree on their matrix product");
          }
          whole.c[lane] = mine.d;
        }
        warpgroup.issue(whole);
      });
}

}  // namespace detail
}  // namespace monarch::attention::cuda::device
