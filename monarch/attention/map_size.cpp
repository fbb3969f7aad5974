#include "monarch/attention/map_size.h"

namespace monarch::attention {
namespace {

// Of both factors of a Monarch matrix with `rows` x `cols` positions on each side.
std::int64_t factor_numbers(std::int64_t rows, std::int64_t cols) {
  return rows * cols * (rows + cols);
}

MapSize numbers_of(const DenseProblem& problem) {
  std::int64_t pairs = 0;
  for (std::int64_t token = 0; token < problem.q_tokens; ++token)
    pairs += problem.visible_keys(token);
  const std::int64_t numbers = problem.batch * problem.num_heads * pairs;
  return {numbers, numbers};
}

MapSize numbers_of(const MonarchProblem& problem) {
  const BlockLayout layout = problem.layout();
  std::int64_t pairs = 0;
  for (std::int64_t block = 0; block < problem.num_q_blocks(); ++block)
    pairs += problem.visible_blocks(block);
  pairs *= problem.batch * problem.num_heads;
  return {pairs * factor_numbers(layout.block_rows(), layout.block_cols()),
          pairs * layout.block_tokens() * layout.block_tokens()};
}

MapSize numbers_of(const VMonarchProblem& problem) {
  const SplitLayout layout = problem.layout();
  const std::int64_t tokens = problem.num_tokens();
  const std::int64_t exact =
      problem.recompute_first_frame ? problem.height * problem.width * tokens : 0;
  const std::int64_t heads = problem.batch * problem.num_heads;
  return {heads * (factor_numbers(layout.num_rows(), layout.num_cols()) + exact),
          heads * tokens * tokens};
}

}  // namespace

double MapSize::sparsity() const {
  return dense > 0 ? 1 - static_cast<double>(computed) / static_cast<double>(dense) : 0;
}

MapSize& MapSize::operator+=(const MapSize& other) {
  computed += other.computed;
  dense += other.dense;
  return *this;
}

MapSize map_size(const Problem& problem) {
  return std::visit([](const auto& one) { return numbers_of(one); }, problem);
}

}  // namespace monarch::attention
