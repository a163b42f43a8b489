#pragma once

// Products of matrices, of few rows with a large matrix, attention of single positions, and what is
// done to rows element by element. Every element is summed in an order that depends on the inner
// size and the types alone, never on how many rows are computed together nor on the number of
// threads, so that a sequence gets the same bits whatever is decoded beside it. No LibTorch.

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

/// Elements of MatrixProduct::workspace.
inline constexpr std::int64_t kMatrixWorkspace = 256 * (192 + 1024);

/// c = scale * a b + add, where a is (m, k), b is (k, n), all at least 1, and c and `add` are (m,
/// n); `add` may be c itself, or null for zeros. Strides are in elements, those of columns of c and
/// `add` are 1; a row stride of 0 adds the same row everywhere. W as in RowProduct. The order of
/// summation depends on k alone.
template <class T, class W>
struct MatrixProduct {
  std::int64_t m, n, k;
  const T* a;
  std::int64_t a_row, a_column;
  const W* b;
  std::int64_t b_row, b_column;
  T* c;
  std::int64_t c_row;
  const T* add;
  std::int64_t add_row;
  T scale;
  T* workspace;
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

/// Of a query of attention: turns `size` scores into probabilities exp(score - logsumexp), and
/// their gradients in `d_scores` into those of the scores, p * (dp - sum of out * d_out), where
/// `out` and `d_out` are what the query gave, `dim` elements, and its gradient. What is left of
/// `width` elements becomes 0 in both.
template <class T>
struct SoftmaxGradientRow {
  T* scores;
  T* d_scores;
  std::int64_t size;
  std::int64_t width;
  T logsumexp;
  const T* out;
  const T* d_out;
  std::int64_t dim;
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
  /// row[i] = exp(row[i]) / sum of exp(row); gives the logarithm of that sum. The rest of `width`
  /// elements becomes 0.
  float (*softmax_float)(float* row, std::int64_t size, std::int64_t width);
  double (*softmax_double)(double* row, std::int64_t size, std::int64_t width);
  void (*softmax_gradient_float)(const SoftmaxGradientRow<float>&);
  void (*softmax_gradient_double)(const SoftmaxGradientRow<double>&);
  void (*multiply_float)(const MatrixProduct<float, float>&);
  void (*multiply_bfloat16)(const MatrixProduct<float, std::uint16_t>&);
  void (*multiply_double)(const MatrixProduct<double, double>&);
};

/// For any x86-64 or ARM machine; for AVX2 with FMA; for AVX-512F. The latter two are null where
/// the compiler's target has no such instructions.
const RowKernels* baseline_row_kernels();
const RowKernels* avx2_row_kernels();
const RowKernels* avx512_row_kernels();

/// The fastest that this machine can run.
const RowKernels& row_kernels();

}  // namespace tinkex::torch_ext::local
