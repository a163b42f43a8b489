#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "torch_ext/local/lora_layout.h"

namespace tinkex::torch_ext::local {

/// The LoRA matrices of one stacked projection, or their gradients: views into a flat vector.
struct LoraViews {
  at::Tensor a;               ///< (parts * rank, in); undefined if the projection is not adapted.
  std::vector<at::Tensor> b;  ///< One (out, rank) per part.
  double scale = 0;           ///< alpha / rank.
  bool present() const { return a.defined(); }
};

struct LayerViews {
  LoraViews qkv, o, gate_up, down;
};

/// Every LoRA matrix of an adapter (or of a gradient in the same layout), where it is used.
struct AdapterViews {
  std::vector<LayerViews> layers;
  LoraViews unembed;

  /// Views into `flat`. A null layout gives views for a model without adapter.
  static AdapterViews of(const LoraLayout* layout, const at::Tensor& flat, std::int64_t num_layers);
};

/// How the elements of a product are summed.
enum class Summation {
  kAlike,    ///< In one order, however many rows there are, and whatever type W is held in.
  kFastest,  ///< Of few rows in another, by kernels that read W where it lies.
};

/// y = x W^T + scale * (x A^T) B^T for the rows of x (n, in), with W (out, in), which may be
/// bfloat16 beside a float32 x. If `residual`, (n, out) or a bias (out), is defined it is added.
/// `low_rank` receives x A^T, which the backward pass needs. W is contiguous, and so are the rows
/// of x.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const LoraViews& lora,
                  const at::Tensor& residual, Summation summation, at::Tensor* low_rank);

/// The same into `y` (n, out), which is overwritten, with Summation::kAlike.
void linear_out(const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight,
                const LoraViews& lora, at::Tensor* low_rank);

/// Backward of linear: adds the gradients of A and B to `gradient` and returns dx (n, in), or an
/// undefined tensor if `need_dx` is false. Without an adapter `x` and `low_rank` are not read.
at::Tensor linear_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& low_rank,
                           const at::Tensor& weight, const LoraViews& lora, LoraViews& gradient,
                           bool need_dx);

}  // namespace tinkex::torch_ext::local
