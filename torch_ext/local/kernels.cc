#include "torch_ext/local/kernels.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

#include "torch_ext/local/parallel.h"
#include "torch_ext/local/scratch.h"

namespace tinkex::torch_ext::local {
namespace {

/// Sums are kept in this many lanes: the order is fixed, and the compiler can use vector registers.
constexpr std::int64_t kLanes = 16;

constexpr std::int64_t kAdamGrain = std::int64_t{1} << 19;

template <class T, class Term>
T lane_sum(std::int64_t count, Term term) {
  std::array<T, kLanes> lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[static_cast<std::size_t>(lane)] += term(i + lane);
    }
  }
  T sum = 0;
  for (const T lane : lanes) sum += lane;
  for (; i < count; ++i) sum += term(i);
  return sum;
}

at::Tensor columns_of(const at::Tensor& rows, std::int64_t head_dim, const HeadNorm& which) {
  return rows.narrow(1, which.first_head * head_dim, which.heads * head_dim);
}

/// A row for each head, in memory of its own.
at::Tensor rows_of_heads(const at::Tensor& heads, std::int64_t head_dim) {
  return at::empty(heads.sizes(), heads.options()).copy_(heads).view({-1, head_dim});
}

template <class T>
void rotate_row(T* row, const T* angles, const Rotation& r) {
  const std::int64_t half = r.head_dim / 2;
  const T* cosines = angles;
  const T* sines = angles + half;
  const T sign = r.inverse ? T(-1) : T(1);
  for (std::int64_t head = 0; head < r.heads; ++head, row += r.head_dim) {
    for (std::int64_t i = 0; i < half; ++i) {
      const T low = row[i];
      const T high = row[half + i];
      const T sine = sign * sines[i];
      row[i] = low * cosines[i] - high * sine;
      row[half + i] = high * cosines[i] + low * sine;
    }
  }
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    at::Tensor* inverse) {
  const std::int64_t rows = x.size(0);
  const std::int64_t d = x.size(1);
  at::Tensor y = scratch_empty(x.sizes(), x);
  at::Tensor factors = at::empty({rows}, x.options());
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    const T* in = x.const_data_ptr<T>();
    const T* w = weight.const_data_ptr<T>();
    T* out = y.mutable_data_ptr<T>();
    T* factor = factors.mutable_data_ptr<T>();
    for_each_row(rows, kElementWork * d, [=](std::int64_t row) {
      const T* from = in + row * d;
      T* to = out + row * d;
      const T squares = lane_sum<T>(d, [from](std::int64_t i) { return from[i] * from[i]; });
      const T f = T(1) / std::sqrt(squares / T(d) + T(eps));
      factor[row] = f;
      for (std::int64_t i = 0; i < d; ++i) to[i] = from[i] * f * w[i];
    });
  });
  if (inverse != nullptr) *inverse = factors;
  return y;
}

at::Tensor scaled_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& inverse) {
  const std::int64_t d = x.size(1);
  at::Tensor y = scratch_empty(x.sizes(), x);
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    const T* in = x.const_data_ptr<T>();
    const T* w = weight.const_data_ptr<T>();
    const T* factor = inverse.const_data_ptr<T>();
    T* out = y.mutable_data_ptr<T>();
    for_each_row(x.size(0), kElementWork * d, [=](std::int64_t row) {
      const T f = factor[row];
      for (std::int64_t i = row * d; i < (row + 1) * d; ++i) out[i] = in[i] * f * w[i - row * d];
    });
  });
  return y;
}

void add_rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                           const at::Tensor& inverse, at::Tensor& dx) {
  const std::int64_t d = x.size(1);
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    const T* gradient = dy.const_data_ptr<T>();
    const T* in = x.const_data_ptr<T>();
    const T* w = weight.const_data_ptr<T>();
    const T* factor = inverse.const_data_ptr<T>();
    T* out = dx.mutable_data_ptr<T>();
    for_each_row(x.size(0), kElementWork * d, [=](std::int64_t row) {
      const T* g = gradient + row * d;
      const T* from = in + row * d;
      T* to = out + row * d;
      const T f = factor[row];
      const T dot = lane_sum<T>(d, [=](std::int64_t i) { return g[i] * w[i] * from[i]; });
      const T correction = f * f * f * dot / T(d);
      for (std::int64_t i = 0; i < d; ++i) to[i] += g[i] * w[i] * f - from[i] * correction;
    });
  });
}

void normalize_heads(at::Tensor& rows, const at::Tensor& weight, double eps, const HeadNorm& which,
                     HeadNormRecord& record) {
  at::Tensor heads = columns_of(rows, weight.size(0), which);
  record.rows = rows_of_heads(heads, weight.size(0));
  heads.copy_(rms_norm(record.rows, weight, eps, &record.inverse).view(heads.sizes()));
}

void normalize_heads_backward(at::Tensor& d_rows, const at::Tensor& weight, const HeadNorm& which,
                              const HeadNormRecord& record) {
  at::Tensor heads = columns_of(d_rows, weight.size(0), which);
  at::Tensor dx = at::zeros_like(record.rows);
  add_rms_norm_backward(rows_of_heads(heads, weight.size(0)), record.rows, weight, record.inverse,
                        dx);
  heads.copy_(dx.view(heads.sizes()));
}

void rotate_heads(at::Tensor& rows, const at::Tensor& table, const Rotation& rotation) {
  const std::int64_t stride = rows.stride(0);
  with_type(rows, [&](auto zero) {
    using T = decltype(zero);
    T* data = rows.mutable_data_ptr<T>();
    const T* angles = table.const_data_ptr<T>();
    for_each_row(
        rows.size(0), kElementWork * rotation.heads * rotation.head_dim, [=](std::int64_t row) {
          const std::int64_t position =
              rotation.positions != nullptr ? rotation.positions[row] : row % rotation.length;
          rotate_row(data + row * stride, angles + position * rotation.head_dim, rotation);
        });
  });
}

double sum_of_squares(const at::Tensor& flat) {
  double sum = 0;
  with_type(flat, [&](auto zero) {
    using T = decltype(zero);
    const T* data = flat.const_data_ptr<T>();
    sum = lane_sum<double>(flat.numel(), [data](std::int64_t i) {
      return static_cast<double>(data[i]) * static_cast<double>(data[i]);
    });
  });
  return sum;
}

AdamTensors adam_step(const AdamTensors& old, const at::Tensor& gradient, const AdamStep& step) {
  AdamTensors fresh{at::empty_like(old.theta), at::empty_like(old.theta),
                    at::empty_like(old.theta)};
  with_type(old.theta, [&](auto zero) {
    using T = decltype(zero);
    const T* g = gradient.const_data_ptr<T>();
    const T* theta = old.theta.const_data_ptr<T>();
    const T* m = old.m.const_data_ptr<T>();
    const T* v = old.v.const_data_ptr<T>();
    T* new_theta = fresh.theta.mutable_data_ptr<T>();
    T* new_m = fresh.m.mutable_data_ptr<T>();
    T* new_v = fresh.v.mutable_data_ptr<T>();
    const T scale = T(step.gradient_scale), keep = T(step.decay), size = T(step.step_size);
    const T b1 = T(step.beta1), rest1 = T(1.0 - step.beta1);
    const T b2 = T(step.beta2), rest2 = T(1.0 - step.beta2);
    const T correction = T(step.inverse_sqrt_correction2), eps = T(step.eps);
    at::parallel_for(0, old.theta.numel(), kAdamGrain, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const T gi = g[i] * scale;
        new_m[i] = b1 * m[i] + rest1 * gi;
        new_v[i] = b2 * v[i] + rest2 * gi * gi;
        new_theta[i] = theta[i] * keep - size * new_m[i] / (std::sqrt(new_v[i]) * correction + eps);
      }
    });
  });
  return fresh;
}

}  // namespace tinkex::torch_ext::local
