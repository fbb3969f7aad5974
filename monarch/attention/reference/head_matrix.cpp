#include "monarch/attention/reference/head_matrix.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace monarch::attention::reference {
namespace {

double load(const ConstTensorView& tensor, std::int64_t offset) {
  switch (tensor.dtype) {
    case DType::kF64: return static_cast<const double*>(tensor.data)[offset];
    case DType::kF32: return static_cast<const float*>(tensor.data)[offset];
    case DType::kF16: return f16_to_f32(static_cast<const std::uint16_t*>(tensor.data)[offset]);
    case DType::kBF16: return bf16_to_f32(static_cast<const std::uint16_t*>(tensor.data)[offset]);
    default: break;
  }
  fail(ErrorCode::kInternal, "[monarch_attention] reference cannot read ",
       dtype_name(tensor.dtype));
}

void store(const TensorView& tensor, std::int64_t offset, double value) {
  switch (tensor.dtype) {
    case DType::kF64: static_cast<double*>(tensor.data)[offset] = value; return;
    case DType::kF32: static_cast<float*>(tensor.data)[offset] = static_cast<float>(value); return;
    case DType::kF16:
      static_cast<std::uint16_t*>(tensor.data)[offset] = f32_to_f16(static_cast<float>(value));
      return;
    case DType::kBF16:
      static_cast<std::uint16_t*>(tensor.data)[offset] = f32_to_bf16(static_cast<float>(value));
      return;
    default: break;
  }
  fail(ErrorCode::kInternal, "[monarch_attention] reference cannot write ",
       dtype_name(tensor.dtype));
}

}  // namespace

Matrix load_head(const ConstTensorView& tensor, std::int64_t batch, std::int64_t head,
                 const TokenOf& token_of, double factor) {
  Matrix matrix(tensor.size(1), tensor.size(3));
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    const std::int64_t token = token_of ? token_of(row) : row;
    const std::int64_t offset =
        batch * tensor.strides[0] + token * tensor.strides[1] + head * tensor.strides[2];
    for (std::int64_t col = 0; col < matrix.cols; ++col) {
      matrix[row][col] = factor * load(tensor, offset + col);
    }
  }
  return matrix;
}

void store_head(const Matrix& matrix, const TensorView& tensor, std::int64_t batch,
                std::int64_t head, const TokenOf& token_of, double factor) {
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    const std::int64_t token = token_of ? token_of(row) : row;
    const std::int64_t offset =
        batch * tensor.strides[0] + token * tensor.strides[1] + head * tensor.strides[2];
    for (std::int64_t col = 0; col < matrix.cols; ++col) {
      store(tensor, offset + col, factor * matrix[row][col]);
    }
  }
}

Matrix slice_rows(const Matrix& matrix, std::int64_t first, std::int64_t count) {
  Matrix slice(count, matrix.cols);
  const auto begin = matrix.values.begin() + first * matrix.cols;
  std::copy(begin, begin + count * matrix.cols, slice.values.begin());
  return slice;
}

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t index = 0; index < a.size(); ++index) sum += a[index] * b[index];
  return sum;
}

void add_scaled(double alpha, std::span<const double> x, std::span<double> y) {
  for (std::size_t index = 0; index < x.size(); ++index) y[index] += alpha * x[index];
}

double softmax_in_place(std::span<double> scores) {
  double maximum = -std::numeric_limits<double>::infinity();
  for (const double score : scores) maximum = std::max(maximum, score);
  double sum = 0;
  for (double& score : scores) {
    score = std::exp(score - maximum);  // a NaN score is skipped by max but reaches the sum here
    sum += score;
  }
  for (double& score : scores) score /= sum;
  return maximum + std::log(sum);
}

}  // namespace monarch::attention::reference
