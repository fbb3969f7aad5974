// Tensors for tests: owned storage of any dtype and any strides, read and written as doubles.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "monarch/base/tensor_view.h"

namespace monarch::attention::test {

// Space between the rows of a tensor, in elements: free strides of a view.
struct Padding {
  std::int64_t head = 0;   // after each head's head_dim
  std::int64_t token = 0;  // after each token's heads
  std::int64_t start = 0;  // before the first element: misaligns
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(std::vector<std::int64_t> shape, DType dtype, Padding padding = {});

  const std::vector<std::int64_t>& shape() const { return view_.shape; }
  DType dtype() const { return view_.dtype; }
  TensorView view();
  ConstTensorView view() const;

  // Row-major index over the shape, whatever the strides.
  double get(std::int64_t index) const;
  void set(std::int64_t index, double value);
  std::int64_t size() const { return view_.num_elements(); }
  std::vector<double> values() const;
  void assign(const std::vector<double>& values);
  void fill(double value);

 private:
  std::int64_t offset(std::int64_t index) const;
  std::vector<std::byte> storage_;
  TensorView view_;
};

// Standard normal times `factor`, rounded to the dtype.
Tensor random_tensor(std::vector<std::int64_t> shape, DType dtype, std::uint32_t seed,
                     double factor = 1.0, Padding padding = {});

// ||got - want|| / max(||want||, floor sqrt(n)); infinite if the patterns of non-finite values
// differ or shapes do.
double relative_error(const Tensor& got, const Tensor& want, double floor = 1e-3);

// Position and both values of the largest difference, for messages.
std::string worst_element(const Tensor& got, const Tensor& want);

}  // namespace monarch::attention::test
