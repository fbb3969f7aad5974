// One (batch, head) of a tensor as a matrix of doubles, and the few vector operations the reference
// is written with.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "monarch/base/tensor_view.h"

namespace monarch::attention::reference {

// [rows, cols], row-major.
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(std::int64_t num_rows, std::int64_t num_cols)
      : rows(num_rows), cols(num_cols), values(static_cast<std::size_t>(num_rows * num_cols)) {}
  std::span<double> operator[](std::int64_t row) {
    return std::span(values).subspan(static_cast<std::size_t>(row * cols),
                                     static_cast<std::size_t>(cols));
  }
  std::span<const double> operator[](std::int64_t row) const {
    return std::span(values).subspan(static_cast<std::size_t>(row * cols),
                                     static_cast<std::size_t>(cols));
  }
};

// Gives the token that stands at a position of the matrix; an empty function means token order.
using TokenOf = std::function<std::int64_t(std::int64_t)>;

template <typename Layout>  // BlockLayout or SplitLayout
TokenOf token_of_position(const Layout& layout) {
  return [layout](std::int64_t position) { return layout.token_of_position(position); };
}

// Rows are tokens of `tensor` [B, N, H, D] in the order of `token_of`, times `factor`.
Matrix load_head(const ConstTensorView& tensor, std::int64_t batch, std::int64_t head,
                 const TokenOf& token_of = {}, double factor = 1.0);
// The way back; rounds once to the tensor's dtype.
void store_head(const Matrix& matrix, const TensorView& tensor, std::int64_t batch,
                std::int64_t head, const TokenOf& token_of = {}, double factor = 1.0);

// Rows [first, first + count) of a matrix.
Matrix slice_rows(const Matrix& matrix, std::int64_t first, std::int64_t count);

double dot(std::span<const double> a, std::span<const double> b);
// y += alpha x
void add_scaled(double alpha, std::span<const double> x, std::span<double> y);

// Replaces scores by their softmax and returns log Σ e^score. Shifted by the maximum, so large
// scores do not overflow.
double softmax_in_place(std::span<double> scores);

}  // namespace monarch::attention::reference
