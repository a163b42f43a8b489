#include "torch_ext/local/row_ops.h"

#include <ATen/ops/empty.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "torch_ext/local/parallel.h"
#include "torch_ext/local/row_kernels.h"
#include "torch_ext/local/scratch.h"

namespace tinkex::torch_ext::local {
namespace {

template <class T, class W>
void multiply(void (*kernel)(const RowProduct<T, W>&), at::Tensor& y, const at::Tensor& x,
              const W* weight, double scale, bool add) {
  const RowProduct<T, W> whole{x.const_data_ptr<T>(),
                               x.stride(0),
                               x.size(0),
                               x.size(1),
                               weight,
                               y.size(1),
                               y.mutable_data_ptr<T>(),
                               y.stride(0),
                               static_cast<T>(scale),
                               add};
  at::parallel_for(0, whole.outs, grain_for(whole.in * whole.rows),
                   [&](std::int64_t begin, std::int64_t end) {
                     RowProduct<T, W> part = whole;
                     part.w += begin * part.in;
                     part.y += begin;
                     part.outs = end - begin;
                     kernel(part);
                   });
}

template <class T>
void gate(const at::Tensor& gate_up, at::Tensor& out) {
  const auto kernel = kernels_of<T>().gate;
  const std::int64_t inner = out.size(1);
  const T* from = gate_up.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  for_each_row(out.size(0), kExponentialWork * inner, [=](std::int64_t row) {
    const T* gates = from + row * 2 * inner;
    kernel({gates, gates + inner, inner, to + row * inner});
  });
}

template <class T>
void gate_gradient(const at::Tensor& gate_up, const at::Tensor& d_out, at::Tensor& d_gate_up) {
  const auto kernel = kernels_of<T>().gate_gradient;
  const std::int64_t inner = d_out.size(1);
  const T* from = gate_up.const_data_ptr<T>();
  const T* d_from = d_out.const_data_ptr<T>();
  T* to = d_gate_up.mutable_data_ptr<T>();
  for_each_row(d_out.size(0), kExponentialWork * inner, [=](std::int64_t row) {
    const T* gates = from + row * 2 * inner;
    T* d_gates = to + row * 2 * inner;
    kernel({gates, gates + inner, d_from + row * inner, inner, d_gates, d_gates + inner});
  });
}

template <class T>
void log_softmax(at::Tensor& rows) {
  const auto kernel = kernels_of<T>().log_softmax;
  T* data = rows.mutable_data_ptr<T>();
  const std::int64_t size = rows.size(1);
  for_each_row(rows.size(0), kExponentialWork * size,
               [=](std::int64_t row) { kernel(data + row * size, size); });
}

template <class T>
void logit_gradient(at::Tensor& rows, const std::int64_t* targets, const double* g,
                    std::int64_t columns) {
  const auto kernel = kernels_of<T>().scaled_exp;
  T* data = rows.mutable_data_ptr<T>();
  const std::int64_t size = rows.size(1);
  for_each_row(rows.size(0), kExponentialWork * size, [=](std::int64_t row) {
    T* out = data + row * size;
    const double* own = g + row * columns;
    double sum = 0;
    for (std::int64_t k = 0; k < columns; ++k) sum += own[k];
    kernel(out, size, static_cast<T>(-sum));
    for (std::int64_t k = 0; k < columns; ++k) {
      out[targets[row * columns + k]] += static_cast<T>(own[k]);
    }
  });
}

template <class T>
void attend(const at::Tensor& qkv, std::span<SequenceCache* const> caches, std::size_t layer,
            const ModelConfig& config, at::Tensor& out) {
  const auto kernel = kernels_of<T>().attend;
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t group = heads / config.num_key_value_heads;
  const std::int64_t dim = config.head_dim;
  std::int64_t longest = 0;
  for (const SequenceCache* cache : caches) longest = std::max(longest, cache->length() + 1);
  const T* queries = qkv.const_data_ptr<T>();
  T* results = out.mutable_data_ptr<T>();
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    std::vector<KeyValueSegment<T>> segments;
    std::vector<T> scores(static_cast<std::size_t>(longest));
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = i / heads;
      const std::int64_t head = i % heads;
      caches[static_cast<std::size_t>(row)]->segments(layer, head / group, segments);
      kernel({queries + row * qkv.stride(0) + head * dim, dim, segments.data(),
              static_cast<std::int64_t>(segments.size()),
              static_cast<T>(1.0 / std::sqrt(static_cast<double>(dim))), scores.data(),
              results + i * dim});
    }
  };
  at::parallel_for(0, qkv.size(0) * heads, grain_for(2 * longest * dim), body);
}

}  // namespace

void row_product(at::Tensor& y, const at::Tensor& x, const at::Tensor& weight, double scale,
                 bool add) {
  // The kernels know no strides but those of rows.
  TORCH_INTERNAL_ASSERT(weight.is_contiguous() && x.size(1) == weight.size(1) &&
                        y.size(1) == weight.size(0) && y.size(0) == x.size(0) &&
                        (x.size(1) <= 1 || x.stride(1) == 1) &&
                        (y.size(1) <= 1 || y.stride(1) == 1));
  const RowKernels& kernels = row_kernels();
  if (x.scalar_type() == at::ScalarType::Double) {
    return multiply(kernels.float64.product, y, x, weight.const_data_ptr<double>(), scale, add);
  }
  if (weight.scalar_type() == at::ScalarType::BFloat16) {
    const auto* halves = &weight.const_data_ptr<at::BFloat16>()->x;
    return multiply(kernels.product_bfloat16, y, x, halves, scale, add);
  }
  multiply(kernels.float32.product, y, x, weight.const_data_ptr<float>(), scale, add);
}

void add_row_linear(at::Tensor& y, const at::Tensor& x, const at::Tensor& weight,
                    const LoraViews& lora) {
  row_product(y, x, weight, 1.0, /*add=*/true);
  if (!lora.present()) return;
  at::Tensor low_rank = at::empty({x.size(0), lora.a.size(0)}, x.options());
  row_product(low_rank, x, lora.a, lora.scale, /*add=*/false);
  const std::int64_t rank = lora.b.front().size(1);
  std::int64_t column = 0;
  for (std::size_t i = 0; i < lora.b.size(); ++i) {
    const std::int64_t out = lora.b[i].size(0);
    at::Tensor part = y.narrow(1, column, out);
    row_product(part, low_rank.narrow(1, static_cast<std::int64_t>(i) * rank, rank), lora.b[i], 1.0,
                /*add=*/true);
    column += out;
  }
}

at::Tensor gated_rows(const at::Tensor& gate_up) {
  at::Tensor out = scratch_empty({gate_up.size(0), gate_up.size(1) / 2}, gate_up);
  with_type(out, [&](auto zero) { gate<decltype(zero)>(gate_up, out); });
  return out;
}

at::Tensor gated_rows_backward(const at::Tensor& gate_up, const at::Tensor& d_out) {
  at::Tensor d_gate_up = scratch_empty(gate_up.sizes(), gate_up);
  with_type(gate_up, [&](auto zero) { gate_gradient<decltype(zero)>(gate_up, d_out, d_gate_up); });
  return d_gate_up;
}

void log_softmax_rows(at::Tensor& rows) {
  with_type(rows, [&](auto zero) { log_softmax<decltype(zero)>(rows); });
}

void logprobs_to_logit_gradient(at::Tensor& rows, const std::int64_t* targets, const double* g,
                                std::int64_t columns) {
  with_type(rows, [&](auto zero) { logit_gradient<decltype(zero)>(rows, targets, g, columns); });
}

at::Tensor attend_rows(const at::Tensor& qkv, std::span<SequenceCache* const> caches,
                       std::size_t layer, const ModelConfig& config) {
  at::Tensor out = at::empty({qkv.size(0), config.query_size()}, qkv.options());
  with_type(out, [&](auto zero) { attend<decltype(zero)>(qkv, caches, layer, config, out); });
  return out;
}

}  // namespace tinkex::torch_ext::local
