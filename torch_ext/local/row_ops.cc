#include "torch_ext/local/row_ops.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "torch_ext/local/row_kernels.h"

namespace tinkex::torch_ext::local {
namespace {

/// Multiplications that are worth a second thread: a third of a millisecond where memory is slow.
constexpr std::int64_t kGrain = std::int64_t{1} << 19;

std::int64_t grain_for(std::int64_t work_of_one) {
  return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, work_of_one));
}

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
void gate(void (*kernel)(const GatedRow<T>&), const at::Tensor& gate_up, at::Tensor& out) {
  const std::int64_t inner = out.size(1);
  const T* from = gate_up.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  for (std::int64_t row = 0; row < out.size(0); ++row) {
    const T* gates = from + row * 2 * inner;
    kernel({gates, gates + inner, inner, to + row * inner});
  }
}

template <class T>
void attend(void (*kernel)(const AttentionRow<T>&), const at::Tensor& qkv,
            std::span<SequenceCache* const> caches, std::size_t layer, const ModelConfig& config,
            at::Tensor& out) {
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
  const RowKernels& kernels = row_kernels();
  if (x.scalar_type() == at::ScalarType::Double) {
    return multiply(kernels.product_double, y, x, weight.const_data_ptr<double>(), scale, add);
  }
  if (weight.scalar_type() == at::ScalarType::BFloat16) {
    const auto* halves = &weight.const_data_ptr<at::BFloat16>()->x;
    return multiply(kernels.product_bfloat16, y, x, halves, scale, add);
  }
  multiply(kernels.product_float, y, x, weight.const_data_ptr<float>(), scale, add);
}

void add_row_linear(at::Tensor& y, const at::Tensor& x, const at::Tensor& weight,
                    const LoraViews& lora) {
  row_product(y, x, weight, 1.0, /*add=*/true);
  if (!lora.present()) return;
  at::Tensor low_rank = at::empty({x.size(0), lora.a.size(0)}, x.options());
  row_product(low_rank, x, lora.a, 1.0, /*add=*/false);
  const std::int64_t rank = lora.b.front().size(1);
  std::int64_t column = 0;
  for (std::size_t i = 0; i < lora.b.size(); ++i) {
    const std::int64_t out = lora.b[i].size(0);
    at::Tensor part = y.narrow(1, column, out);
    row_product(part, low_rank.narrow(1, static_cast<std::int64_t>(i) * rank, rank), lora.b[i],
                lora.scale, /*add=*/true);
    column += out;
  }
}

at::Tensor gated_rows(const at::Tensor& gate_up) {
  at::Tensor out = at::empty({gate_up.size(0), gate_up.size(1) / 2}, gate_up.options());
  if (out.scalar_type() == at::ScalarType::Double) {
    gate(row_kernels().gate_double, gate_up, out);
  } else {
    gate(row_kernels().gate_float, gate_up, out);
  }
  return out;
}

at::Tensor attend_rows(const at::Tensor& qkv, std::span<SequenceCache* const> caches,
                       std::size_t layer, const ModelConfig& config) {
  at::Tensor out = at::empty({qkv.size(0), config.query_size()}, qkv.options());
  if (out.scalar_type() == at::ScalarType::Double) {
    attend(row_kernels().attend_double, qkv, caches, layer, config, out);
  } else {
    attend(row_kernels().attend_float, qkv, caches, layer, config, out);
  }
  return out;
}

}  // namespace tinkex::torch_ext::local
