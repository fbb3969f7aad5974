#include "monarch/attention/cuda/common/device.h"

namespace monarch::attention::cuda::device {
namespace {

struct MatrixLane {
  std::uint32_t offset = 0;
  std::uint32_t* r = nullptr;
};

using Matrix = std::array<std::array<std::uint16_t, 8>, 8>;

std::uint32_t fragment(const Matrix& matrix, std::size_t lane, bool transpose) {
  const std::size_t g = lane / 4;
  const std::size_t t = lane % 4;
  const std::uint32_t low = transpose ? matrix[2 * t][g] : matrix[g][2 * t];
  const std::uint32_t high = transpose ? matrix[2 * t + 1][g] : matrix[g][2 * t + 1];
  return low | high << 16;
}

void load_lanes(const Block::Lanes& lanes, bool transpose) {
  Block& block = Block::current();
  const int first_thread = block.actor() - block.thread() % 32;
  for (std::size_t n = 0; n < 4; ++n) {
    Matrix matrix;
    for (std::size_t row = 0; row < 8; ++row) {
      const std::size_t lane = 8 * n + row;
      block.shared().read(first_thread + static_cast<int>(lane),
                          static_cast<const MatrixLane*>(lanes[lane])->offset, matrix[row].data(),
                          16);
    }
    for (std::size_t lane = 0; lane < 32; ++lane) {
      static_cast<const MatrixLane*>(lanes[lane])->r[n] = fragment(matrix, lane, transpose);
    }
  }
}

}  // namespace

void load_matrices(std::uint32_t (&r)[4], std::uint32_t offset) {
  MatrixLane mine{offset, r};
  Block::current().warp_operation("load_matrices", &mine,
                                  [](const Block::Lanes& lanes) { load_lanes(lanes, false); });
}

void load_matrices_transposed(std::uint32_t (&r)[4], std::uint32_t offset) {
  MatrixLane mine{offset, r};
  Block::current().warp_operation("load_matrices_transposed", &mine,
                                  [](const Block::Lanes& lanes) { load_lanes(lanes, true); });
}

std::uint32_t transposed(std::uint32_t matrix) {
  std::uint32_t mine = matrix;
  Block::current().warp_operation("transposed", &mine, [](const Block::Lanes& lanes) {
    Matrix whole;
    for (std::size_t lane = 0; lane < 32; ++lane) {
      const std::uint32_t word = *static_cast<std::uint32_t*>(lanes[lane]);
      whole[lane / 4][lane % 4 * 2] = static_cast<std::uint16_t>(word);
      whole[lane / 4][lane % 4 * 2 + 1] = static_cast<std::uint16_t>(word >> 16);
    }
    for (std::size_t lane = 0; lane < 32; ++lane) {
      *static_cast<std::uint32_t*>(lanes[lane]) = fragment(whole, lane, true);
    }
  });
  return mine;
}

}  // namespace monarch::attention::cuda::device
