#include "torch_ext/local/adamw.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>

#include "tinkex/validate.h"
#include "torch_ext/local/kernels.h"
#include "torch_ext/local/refusal.h"

namespace tinkex::torch_ext::local {
namespace {

/// As `1e+300`, for which std::to_string takes 301 digits.
std::string in_short(double number) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", number);
  return text;
}

double clip_factor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

AdamStep step_of(const AdamParams& params, double norm, std::int64_t step) {
  const auto t = static_cast<double>(step);
  AdamStep out{};
  out.gradient_scale = clip_factor(norm, params.grad_clip_norm);
  out.decay = 1.0 - params.learning_rate * params.weight_decay;
  out.beta1 = params.beta1;
  out.beta2 = params.beta2;
  out.step_size = params.learning_rate / (1.0 - std::pow(params.beta1, t));
  out.inverse_sqrt_correction2 = 1.0 / std::sqrt(1.0 - std::pow(params.beta2, t));
  out.eps = params.eps;
  return out;
}

}  // namespace

Result<AdamWResult> adamw(const at::Tensor& parameters, const at::Tensor& gradient,
                          const OptimizerState& state, const AdamParams& params) {
  const Status valid = refuse_unless(validate(params));
  if (!valid) return valid.error();
  const double norm = std::sqrt(sum_of_squares(gradient));
  const bool fresh = !state.exp_avg.defined();
  const AdamTensors old{parameters, fresh ? at::zeros_like(parameters) : state.exp_avg,
                        fresh ? at::zeros_like(parameters) : state.exp_avg_sq};
  AdamTensors next = adam_step(old, gradient, step_of(params, norm, state.step + 1));
  if (!std::isfinite(sum_of_squares(next.theta)) || !std::isfinite(sum_of_squares(next.v))) {
    return refuse(
        "this step would make parameters infinite or NaN (gradient norm " + in_short(norm) +
        ", learning rate " + in_short(params.learning_rate) +
        "); nothing was changed, and the gradient is still held: lower learning_rate or set "
        "grad_clip_norm, and step again");
  }
  return AdamWResult{
      std::move(next.theta), {std::move(next.m), std::move(next.v), state.step + 1}, norm};
}

}  // namespace tinkex::torch_ext::local
