#pragma once

// Products of few rows with a large matrix, attention of single positions, and what is done to rows
// element by element. Every element is summed in an order that depends on the inner size and the
// types alone, never on how many rows are computed together nor on the number of threads, so that a
// sequence gets the same bits whatever is decoded beside it. No LibTorch.

#include <cstdint>

namespace tinkex::torch_ext::local {

/// y[r, o] = scale * sum over k of x[r, k] * w[o, k]; or, if `add`, y[r, o] += the sum without
/// scale. Rows of x, w and y are contiguous; those of x and y are `x_stride` and `y_stride`
/// elements apart, those of w `in`. W is T, or std::uint16_t: the upper halves of float32 numbers
/// (bfloat16), widened exactly.
template <class T, class W>
struct RowProduct {
  const T* x;
  std::int64_t x_stride;
  std::int64_t rows;
  std::int64_t in;
  const W* w;
  std::int64_t outs;
  T* y;
  std::int64_t y_stride;
  T scale;
  bool add;
};

/// Keys and values of consecutive positions for one head, both (positions, head_dim).
template <class T>
struct KeyValueSegment {
  const T* keys;
  const T* values;
  std::int64_t positions;
};

/// out = sum over positions of softmax(scale * q . k) v, for one query of `head_dim` elements.
/// `scores` has room for one number per position.
template <class T>
struct AttentionRow {
  const T* q;
  std::int64_t head_dim;
  const KeyValueSegment<T>* segments;
  std::int64_t segment_count;
  T scale;
  T* scores;
  T* out;
};

/// out[i] = silu(gate[i]) * up[i].
template <class T>
struct GatedRow {
  const T* gate;
  const T* up;
  std::int64_t size;
  T* out;
};

/// Its gradients, given that of `out`: d_gate[i] and d_up[i].
template <class T>
struct GatedRowGradient {
  const T* gate;
  const T* up;
  const T* d_out;
  std::int64_t size;
  T* d_gate;
  T* d_up;
};

/// The implementations for one instruction set.
struct RowKernels {
  const char* name;
  void (*product_float)(const RowProduct<float, float>&);
  void (*product_bfloat16)(const RowProduct<float, std::uint16_t>&);
  void (*product_double)(const RowProduct<double, double>&);
  void (*attend_float)(const AttentionRow<float>&);
  void (*attend_double)(const AttentionRow<double>&);
  void (*gate_float)(const GatedRow<float>&);
  void (*gate_double)(const GatedRow<double>&);
  void (*gate_gradient_float)(const GatedRowGradient<float>&);
  void (*gate_gradient_double)(const GatedRowGradient<double>&);
  /// row[i] -= log(sum of exp(row)).
  void (*log_softmax_float)(float* row, std::int64_t size);
  void (*log_softmax_double)(double* row, std::int64_t size);
  /// row[i] = factor * exp(row[i]), for numbers that are not above 0.
  void (*scaled_exp_float)(float* row, std::int64_t size, float factor);
  void (*scaled_exp_double)(double* row, std::int64_t size, double factor);
};

/// For any x86-64 or ARM machine; for AVX2 with FMA; for AVX-512F. The latter two are null where
/// the compiler's target has no such instructions.
const RowKernels* baseline_row_kernels();
const RowKernels* avx2_row_kernels();
const RowKernels* avx512_row_kernels();

/// The fastest that this machine can run.
const RowKernels& row_kernels();

}  // namespace tinkex::torch_ext::local
