#pragma once

// Products of matrices by this engine's own kernels (matrix_product_inl.h). The MKL that LibTorch
// brings does not use AVX-512 on processors of other makers, where these are twice as fast; they
// also sum in an order that does not depend on threads or on how many rows there are, and read
// bfloat16 without a widened copy.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tinkex::torch_ext::local {

/// c = scale * a b + add, with a (m, k), b (k, n), c and `add` (m, n) or, as one row for all, (n).
/// float32 or float64, b also bfloat16 beside float32; a and b with any strides, the rows of c and
/// `add` contiguous; `add` may be c itself, or undefined for zeros. Uses the threads of the
/// caller's ATen.
void matrix_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b,
                    const at::Tensor& add = {}, double scale = 1);

/// A matrix of T, somewhere in memory that outlives it.
template <class T>
struct MatrixView {
  T* data;
  std::int64_t rows, columns;
  std::int64_t row_stride, column_stride;

  MatrixView t() const { return {data, columns, rows, column_stride, row_stride}; }
};

/// The same on the calling thread alone: c = a b, or c += a b. `workspace` has room for
/// kMatrixWorkspace elements.
void multiply(const MatrixView<float>& c, const MatrixView<const float>& a,
              const MatrixView<const float>& b, bool add, float* workspace);
void multiply(const MatrixView<double>& c, const MatrixView<const double>& a,
              const MatrixView<const double>& b, bool add, double* workspace);

}  // namespace tinkex::torch_ext::local
