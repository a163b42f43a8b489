#pragma once

// Products of matrices by this engine's own kernels (matrix_product_inl.h). The MKL that LibTorch
// brings does not use AVX-512 on AMD's processors, where these are twice as fast
// (docs/benchmarks.md; not measured on others). They also sum in an order that does not depend on
// threads or on how many rows there are, and read bfloat16 without a widened copy.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "torch_ext/local/row_kernels.h"

namespace tinkex::torch_ext::local {

/// c = scale * a b + add, with a (m, k), b (k, n), c and `add` (m, n) or, as one row for all, (n).
/// float32 or float64, b also bfloat16 beside float32; a and b with any strides, the columns of c
/// and `add` contiguous; `add` may be c itself, or undefined for zeros. Uses the threads of the
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
  MatrixView<const T> read() const { return {data, rows, columns, row_stride, column_stride}; }
};

/// The same on the calling thread alone: c = a b, or c += a b. The columns of c are contiguous;
/// `workspace` has room for kMatrixWorkspace elements.
template <class T>
void multiply(const MatrixView<T>& c, const MatrixView<const T>& a, const MatrixView<const T>& b,
              bool add, T* workspace) {
  kernels_of<T>().multiply({.m = a.rows,
                            .n = b.columns,
                            .k = a.columns,
                            .a = a.data,
                            .a_row = a.row_stride,
                            .a_column = a.column_stride,
                            .b = b.data,
                            .b_row = b.row_stride,
                            .b_column = b.column_stride,
                            .c = c.data,
                            .c_row = c.row_stride,
                            .add = add ? c.data : nullptr,
                            .add_row = c.row_stride,
                            .scale = T(1),
                            .workspace = workspace});
}

}  // namespace tinkex::torch_ext::local
