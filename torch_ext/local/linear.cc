#include "torch_ext/local/linear.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>

#include "torch_ext/local/scratch.h"

namespace tinkex::torch_ext::local {
namespace {

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

void add_low_rank(at::Tensor& y, const at::Tensor& x, const LoraViews& lora, at::Tensor* keep) {
  at::Tensor low_rank = scratch_empty({x.size(0), lora.a.size(0)}, x);
  at::mm_out(low_rank, x, lora.a.t());
  const std::int64_t rank = lora.b.front().size(1);
  std::int64_t column = 0;
  for (std::size_t i = 0; i < lora.b.size(); ++i) {
    const std::int64_t out = lora.b[i].size(0);
    y.narrow(1, column, out)
        .addmm_(low_rank.narrow(1, static_cast<std::int64_t>(i) * rank, rank), lora.b[i].t(), 1,
                lora.scale);
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

at::Tensor widened(const at::Tensor& weight, const at::Tensor& x) {
  if (weight.scalar_type() == x.scalar_type()) return weight;
  return scratch_empty(weight.sizes(), x).copy_(weight);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const LoraViews& lora,
                  const at::Tensor& residual, at::Tensor* low_rank) {
  const at::Tensor w = widened(weight, x);
  at::Tensor y = scratch_empty({x.size(0), w.size(0)}, x);
  if (residual.defined()) {
    at::addmm_out(y, residual, x, w.t());
  } else {
    at::mm_out(y, x, w.t());
  }
  if (lora.present()) add_low_rank(y, x, lora, low_rank);
  return y;
}

void linear_out(at::Tensor& y, const at::Tensor& x, const at::Tensor& weight, const LoraViews& lora,
                at::Tensor* low_rank) {
  at::mm_out(y, x, widened(weight, x).t());
  if (lora.present()) add_low_rank(y, x, lora, low_rank);
}

at::Tensor linear_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& low_rank,
                           const at::Tensor& weight, const LoraViews& lora, LoraViews& gradient,
                           bool need_dx) {
  at::Tensor dx;
  if (need_dx) {
    dx = scratch_empty({dy.size(0), weight.size(1)}, dy);
    at::mm_out(dx, dy, widened(weight, dy));
  }
  if (!lora.present()) return dx;
  const std::int64_t rank = lora.b.front().size(1);
  at::Tensor d_low_rank = scratch_empty(low_rank.sizes(), low_rank);
  std::int64_t column = 0;
  for (std::size_t i = 0; i < lora.b.size(); ++i) {
    const std::int64_t out = lora.b[i].size(0);
    const std::int64_t first = static_cast<std::int64_t>(i) * rank;
    const at::Tensor dy_part = dy.narrow(1, column, out);
    gradient.b[i].addmm_(dy_part.t(), low_rank.narrow(1, first, rank), 1, lora.scale);
    d_low_rank.narrow(1, first, rank).addmm_(dy_part, lora.b[i], 0, lora.scale);
    column += out;
  }
  gradient.a.addmm_(d_low_rank.t(), x);
  if (need_dx) dx.addmm_(d_low_rank, lora.a);
  return dx;
}

}  // namespace tinkex::torch_ext::local
