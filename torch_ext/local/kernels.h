#pragma once

// Row-wise arithmetic that ATen has only as chains of several passes. Rows are independent, so the
// results do not depend on the number of threads. float32 and float64.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tinkex::torch_ext::local {

/// y = x / sqrt(mean(x^2) + eps) * weight for the rows of x (n, d), contiguous. `inverse` receives
/// the factor 1 / sqrt(...) of each row (n).
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::Tensor* inverse);

/// The same result once more, from the factors that rms_norm gave.
at::Tensor scaled_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& inverse);

/// Adds the gradient with respect to x to `dx` (n, d).
void add_rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                           const at::Tensor& inverse, at::Tensor& dx);

/// Normalises some heads of every row of `rows` (n, columns) in place, each as rms_norm does a row.
/// `record` receives what the backward pass needs.
struct HeadNorm {
  std::int64_t first_head = 0;
  std::int64_t heads = 0;
};
struct HeadNormRecord {
  at::Tensor rows;     ///< (n * heads, head_dim), as they came in.
  at::Tensor inverse;  ///< (n * heads)
};
void normalize_heads(at::Tensor& rows, const at::Tensor& weight, double eps, const HeadNorm& which,
                     HeadNormRecord& record);
/// Turns the gradient of the result, in place, into that of the input.
void normalize_heads_backward(at::Tensor& d_rows, const at::Tensor& weight, const HeadNorm& which,
                              const HeadNormRecord& record);

/// Turns the first `heads` heads of every row of `rows` (n, columns) in place, by the angle of the
/// row's position: positions[row], or without them row % length. `inverse` turns back, which is the
/// backward pass. `table` is BaseModel::rotary_table().
struct Rotation {
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t length = 1;
  const std::int64_t* positions = nullptr;
  bool inverse = false;
};
void rotate_heads(at::Tensor& rows, const at::Tensor& table, const Rotation& rotation);

/// Sum of squares in double and in a fixed order; NaN or infinite if any element is.
double sum_of_squares(const at::Tensor& flat);

/// One AdamW step: reads theta, m, v, g and writes the new theta, m, v. All contiguous, one type.
struct AdamStep {
  double gradient_scale, decay, beta1, beta2, step_size, inverse_sqrt_correction2, eps;
};
struct AdamTensors {
  at::Tensor theta, m, v;
};
AdamTensors adam_step(const AdamTensors& old, const at::Tensor& gradient, const AdamStep& step);

}  // namespace tinkex::torch_ext::local
