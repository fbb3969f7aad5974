#include "tests/attention/support/tensor.h"

#include <cmath>
#include <limits>
#include <utility>

namespace monarch::attention::test {

Tensor::Tensor(std::vector<std::int64_t> shape, DType dtype, Padding padding) {
  view_.dtype = dtype;
  view_.strides = contiguous_strides(shape);
  if (shape.size() == 4) {
    view_.strides[2] = shape[3] + padding.head;
    view_.strides[1] = shape[2] * view_.strides[2] + padding.token;
    view_.strides[0] = shape[1] * view_.strides[1];
  }
  view_.shape = std::move(shape);
  const std::int64_t extent = view_.shape.empty() ? 1 : view_.shape[0] * view_.strides[0];
  const auto bytes = static_cast<std::int64_t>(dtype_size(dtype));
  storage_.resize(static_cast<std::size_t>((extent + padding.start) * bytes));
  view_.data = storage_.data() + padding.start * bytes;
}

// Copies of a Tensor share no storage, so the pointer is made from it every time.
TensorView Tensor::view() {
  TensorView view = view_;
  const std::ptrdiff_t used = view_.shape.empty() ? 1 : view_.shape[0] * view_.strides[0];
  view.data = storage_.data() + storage_.size() -
              used * static_cast<std::ptrdiff_t>(dtype_size(view_.dtype));
  return view;
}

ConstTensorView Tensor::view() const {
  const TensorView view = const_cast<Tensor*>(this)->view();
  return {view.data, view.dtype, view.shape, view.strides};
}

std::int64_t Tensor::offset(std::int64_t index) const {
  std::int64_t result = 0;
  for (std::size_t axis = view_.shape.size(); axis-- > 0;) {
    result += index % view_.shape[axis] * view_.strides[axis];
    index /= view_.shape[axis];
  }
  return result;
}

double Tensor::get(std::int64_t index) const {
  const ConstTensorView flat = view();
  const std::int64_t at = offset(index);
  switch (flat.dtype) {
    case DType::kF64: return static_cast<const double*>(flat.data)[at];
    case DType::kF32: return static_cast<const float*>(flat.data)[at];
    case DType::kBF16: return bf16_to_f32(static_cast<const std::uint16_t*>(flat.data)[at]);
    default: return f16_to_f32(static_cast<const std::uint16_t*>(flat.data)[at]);
  }
}

void Tensor::set(std::int64_t index, double value) {
  const TensorView flat = view();
  const std::int64_t at = offset(index);
  switch (flat.dtype) {
    case DType::kF64: static_cast<double*>(flat.data)[at] = value; break;
    case DType::kF32: static_cast<float*>(flat.data)[at] = static_cast<float>(value); break;
    case DType::kBF16:
      static_cast<std::uint16_t*>(flat.data)[at] = f32_to_bf16(static_cast<float>(value));
      break;
    default: static_cast<std::uint16_t*>(flat.data)[at] = f32_to_f16(static_cast<float>(value));
  }
}

std::vector<double> Tensor::values() const {
  std::vector<double> result(static_cast<std::size_t>(size()));
  for (std::int64_t index = 0; index < size(); ++index) result[index] = get(index);
  return result;
}

void Tensor::assign(const std::vector<double>& values) {
  for (std::int64_t index = 0; index < size(); ++index) set(index, values[index]);
}

void Tensor::fill(double value) {
  for (std::int64_t index = 0; index < size(); ++index) set(index, value);
}

Tensor random_tensor(std::vector<std::int64_t> shape, DType dtype, std::uint32_t seed,
                     double factor, Padding padding) {
  Tensor tensor(std::move(shape), dtype, padding);
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  for (std::int64_t index = 0; index < tensor.size(); ++index)
    tensor.set(index, factor * normal(generator));
  return tensor;
}

double relative_error(const Tensor& got, const Tensor& want, double floor) {
  if (got.shape() != want.shape()) return std::numeric_limits<double>::infinity();
  double difference = 0;
  double norm = 0;
  for (std::int64_t index = 0; index < want.size(); ++index) {
    const double a = got.get(index);
    const double b = want.get(index);
    if (std::isfinite(a) != std::isfinite(b)) return std::numeric_limits<double>::infinity();
    if (!std::isfinite(b)) continue;
    difference += (a - b) * (a - b);
    norm += b * b;
  }
  return std::sqrt(difference) /
         std::max(std::sqrt(norm), floor * std::sqrt(static_cast<double>(want.size())));
}

std::string worst_element(const Tensor& got, const Tensor& want) {
  std::int64_t worst = 0;
  double largest = -1;
  for (std::int64_t index = 0; index < std::min(got.size(), want.size()); ++index) {
    const double difference = std::abs(got.get(index) - want.get(index));
    if (difference > largest || std::isnan(difference)) {
      largest = difference;
      worst = index;
      if (std::isnan(difference)) break;
    }
  }
  return str_cat("worst at ", worst, " of ", want.size(), ": got ", got.get(worst), ", want ",
                 want.get(worst));
}

}  // namespace monarch::attention::test
