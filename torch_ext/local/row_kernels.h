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
inline constexpr std::int64_t kMatrixWorkspace = 192 * (192 + 1024);

/// c = (scale * a) b + add, where a is (m, k), b is (k, n), and c and `add` are (m, n), m and n at
/// least 1; `add` may be c itself, or null for zeros. Strides are in elements, those of columns of
/// c and `add` are 1; a row stride of 0 adds the same row everywhere. W as in RowProduct. An
/// element depends on its row of a and its column of b alone, and zeros behind both change no bit
/// of it.
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

/// Rows of scores that softmax works on are so many elements long, or a multiple: whole vectors.
inline constexpr std::int64_t kScoreUnit = 16;

/// What made probabilities of scores: p = exp(score - largest) * factor. In one number, as the
/// logarithm of a sum, the digits of the factor would be lost beside large scores.
template <class T>
struct SoftmaxFactors {
  T largest;
  T factor;
};

/// Of a query of attention: turns `size` scores into probabilities once more, and their gradients
/// in `d_scores` into those of the scores, p * (dp - sum of out * d_out), where `out` and `d_out`
/// are what the query gave, `dim` elements, and its gradient. What is left of `width` elements, a
/// multiple of kScoreUnit, becomes 0 in both.
template <class T>
struct SoftmaxGradientRow {
  T* scores;
  T* d_scores;
  std::int64_t size;
  std::int64_t width;
  SoftmaxFactors<T> factors;
  const T* out;
  const T* d_out;
  std::int64_t dim;
};

/// What is there for numbers of one type.
template <class T>
struct KernelsOf {
  void (*product)(const RowProduct<T, T>&);
  void (*attend)(const AttentionRow<T>&);
  void (*gate)(const GatedRow<T>&);
  void (*gate_gradient)(const GatedRowGradient<T>&);
  /// row[i] -= log(sum of exp(row)).
  void (*log_softmax)(T* row, std::int64_t size);
  /// row[i] = factor * exp(row[i]), for numbers that are not above 0.
  void (*scaled_exp)(T* row, std::int64_t size, T factor);
  /// row[i] = exp(row[i]) / sum of exp(row) for the first `size` elements, at least 1. The rest of
  /// `width`, a multiple of kScoreUnit, becomes 0; how many those are changes no bit.
  SoftmaxFactors<T> (*softmax)(T* row, std::int64_t size, std::int64_t width);
  void (*softmax_gradient)(const SoftmaxGradientRow<T>&);
  void (*multiply)(const MatrixProduct<T, T>&);
};

/// The implementations for one instruction set.
struct RowKernels {
  const char* name;
  KernelsOf<float> float32;
  KernelsOf<double> float64;
  void (*product_bfloat16)(const RowProduct<float, std::uint16_t>&);
  void (*multiply_bfloat16)(const MatrixProduct<float, std::uint16_t>&);
};

/// For any x86-64 or ARM machine; for AVX2 with FMA; for AVX-512F. The latter two are null where
/// the compiler's target has no such instructions.
const RowKernels* baseline_row_kernels();
const RowKernels* avx2_row_kernels();
const RowKernels* avx512_row_kernels();

/// The fastest that this machine can run.
const RowKernels& row_kernels();

/// Those for T.
template <class T>
const KernelsOf<T>& kernels_of(const RowKernels& kernels = row_kernels()) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return kernels.float32;
  } else {
    return kernels.float64;
  }
}

}  // namespace tinkex::torch_ext::local
