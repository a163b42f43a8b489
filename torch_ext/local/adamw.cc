#include "torch_ext/local/adamw.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "torch_ext/local/kernels.h"

namespace tinkex::torch_ext::local {
namespace {

Error refuse(std::string message) {
  return invalid_argument(std::move(message)).with_category(ErrorCategory::kUser);
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

Status validate(const AdamParams& params) {
  struct Field {
    const char* name;
    double value;
    double below;  ///< Upper bound, not reached.
  };
  const Field fields[] = {
      {"learning_rate", params.learning_rate, INFINITY},
      {"beta1", params.beta1, 1.0},
      {"beta2", params.beta2, 1.0},
      {"eps", params.eps, INFINITY},
      {"weight_decay", params.weight_decay, INFINITY},
      {"grad_clip_norm", params.grad_clip_norm, INFINITY},
  };
  for (const Field& field : fields) {
    if (field.value >= 0 && field.value < field.below) continue;  // False for NaN.
    return refuse(std::string("adam_params.") + field.name + " is " + std::to_string(field.value) +
                  ", expected a finite number from 0 on" +
                  (field.below == 1.0 ? " and below 1" : ""));
  }
  return ok_status();
}

Result<AdamWResult> adamw(const at::Tensor& parameters, const at::Tensor& gradient,
                          const OptimizerState& state, const AdamParams& params) {
  const Status valid = validate(params);
  if (!valid) return valid.error();
  const double norm = std::sqrt(sum_of_squares(gradient));
  const bool fresh = !state.exp_avg.defined();
  const AdamTensors old{parameters, fresh ? at::zeros_like(parameters) : state.exp_avg,
                        fresh ? at::zeros_like(parameters) : state.exp_avg_sq};
  AdamTensors next = adam_step(old, gradient, step_of(params, norm, state.step + 1));
  if (!std::isfinite(sum_of_squares(next.theta)) || !std::isfinite(sum_of_squares(next.v))) {
    return refuse("this step would make parameters infinite or NaN (gradient norm " +
                  std::to_string(norm) + ", learning rate " + std::to_string(params.learning_rate) +
                  "); nothing was changed. Lower learning_rate or set grad_clip_norm");
  }
  return AdamWResult{
      std::move(next.theta), {std::move(next.m), std::move(next.v), state.step + 1}, norm};
}

}  // namespace tinkex::torch_ext::local
