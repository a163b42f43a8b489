#include "torch_ext/local/linear.h"

#include "torch_ext/local/matrix_product.h"
#include "torch_ext/local/row_ops.h"
#include "torch_ext/local/scratch.h"

namespace tinkex::torch_ext::local {
namespace {

/// Rows up to which reading a weight costs more than multiplying by it, so that it is not copied.
constexpr std::int64_t kFewRows = 24;

LoraViews views_of(const LoraGroup& group, const at::Tensor& flat, std::int64_t rank,
                   double scale) {
  LoraViews views;
  if (!group.present()) return views;
  const auto matrix = [&flat](std::int64_t offset, std::int64_t rows, std::int64_t cols) {
    return flat.narrow(0, offset, rows * cols).view({rows, cols});
  };
  const auto parts = static_cast<std::int64_t>(group.outs.size());
  views.a = matrix(group.a_offset, parts * rank, group.in);
  for (std::size_t i = 0; i < group.outs.size(); ++i) {
    views.b.push_back(matrix(group.b_offsets[i], group.outs[i], rank));
  }
  views.scale = scale;
  return views;
}

void add_low_rank(const at::Tensor& y, const at::Tensor& x, const LoraViews& lora,
                  at::Tensor* keep) {
  const at::Tensor low_rank = scratch_empty({x.size(0), lora.a.size(0)}, x);
  matrix_product(low_rank, x, lora.a.t());
  const std::int64_t rank = lora.b.front().size(1);
  std::int64_t column = 0;
  for (std::size_t i = 0; i < lora.b.size(); ++i) {
    const std::int64_t out = lora.b[i].size(0);
    const at::Tensor part = y.narrow(1, column, out);
    matrix_product(part, low_rank.narrow(1, static_cast<std::int64_t>(i) * rank, rank),
                   lora.b[i].t(), part, lora.scale);
    column += out;
  }
  if (keep != nullptr) *keep = low_rank;
}

}  // namespace

AdapterViews AdapterViews::of(const LoraLayout* layout, const at::Tensor& flat,
                              std::int64_t num_layers) {
  AdapterViews views;
  views.layers.resize(static_cast<std::size_t>(num_layers));
  if (layout == nullptr) return views;
  const std::int64_t rank = layout->config().rank;
  const double scale = layout->scale();
  for (std::size_t i = 0; i < views.layers.size(); ++i) {
    const LoraLayer& layer = layout->layers()[i];
    views.layers[i] = {views_of(layer.qkv, flat, rank, scale), views_of(layer.o, flat, rank, scale),
                       views_of(layer.gate_up, flat, rank, scale),
                       views_of(layer.down, flat, rank, scale)};
  }
  views.unembed = views_of(layout->unembed(), flat, rank, scale);
  return views;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const LoraViews& lora,
                  const at::Tensor& residual, Summation summation, at::Tensor* low_rank) {
  at::Tensor y = scratch_empty({x.size(0), weight.size(0)}, x);
  if (summation == Summation::kAlike || x.size(0) > kFewRows) {
    matrix_product(y, x, weight.t(), residual);
  } else if (residual.defined()) {
    row_product(y.copy_(residual), x, weight, 1.0, /*add=*/true);
  } else {
    row_product(y, x, weight, 1.0, /*add=*/false);
  }
  if (lora.present()) add_low_rank(y, x, lora, low_rank);
  return y;
}

void linear_out(const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight,
                const LoraViews& lora, at::Tensor* low_rank) {
  matrix_product(y, x, weight.t());
  if (lora.present()) add_low_rank(y, x, lora, low_rank);
}

at::Tensor linear_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& low_rank,
                           const at::Tensor& weight, const LoraViews& lora, LoraViews& gradient,
                           bool need_dx) {
  at::Tensor dx;
  if (need_dx) {
    dx = scratch_empty({dy.size(0), weight.size(1)}, dy);
    matrix_product(dx, dy, weight);
  }
  if (!lora.present()) return dx;
  const std::int64_t rank = lora.b.front().size(1);
  const at::Tensor d_low_rank = scratch_empty(low_rank.sizes(), low_rank);
  std::int64_t column = 0;
  for (std::size_t i = 0; i < lora.b.size(); ++i) {
    const std::int64_t out = lora.b[i].size(0);
    const std::int64_t first = static_cast<std::int64_t>(i) * rank;
    const at::Tensor dy_part = dy.narrow(1, column, out);
    matrix_product(gradient.b[i], dy_part.t(), low_rank.narrow(1, first, rank), gradient.b[i],
                   lora.scale);
    matrix_product(d_low_rank.narrow(1, first, rank), dy_part, lora.b[i], {}, lora.scale);
    column += out;
  }
  matrix_product(gradient.a, d_low_rank.t(), x, gradient.a);
  if (need_dx) matrix_product(dx, d_low_rank, lora.a, dx);
  return dx;
}

}  // namespace tinkex::torch_ext::local
