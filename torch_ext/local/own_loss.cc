#include "torch_ext/local/own_loss.h"

#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gather.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "tinkex/base/shape.h"
#include "torch_ext/local/decoder.h"
#include "torch_ext/local/kernels.h"
#include "torch_ext/local/refusal.h"
#include "torch_ext/tensor_convert.h"

namespace tinkex::torch_ext::local {
namespace {

/// Rows of log-probabilities that exist at a time.
constexpr std::int64_t kRows = 64;

LossInputs inputs_of(const LossSpec& spec, const PreparedDatum& datum) {
  LossInputs inputs;
  inputs.settings = spec.settings;
  inputs.tensors.emplace(kTokensInput, token_tensor(datum.tokens));
  for (const auto& [name, data] : *datum.named) inputs.tensors.emplace(name, to_tensor(data));
  return inputs;
}

/// One call of the function. What it throws, it throws on.
class Evaluation {
 public:
  Evaluation(const LossSpec& spec, const PreparedDatum& datum, const at::Tensor& logits)
      : spec_(spec), datum_(datum), logits_(logits) {}

  Result<OwnLoss> run(bool with_gradient) {
    if (with_gradient) logits_.requires_grad_(true);
    loss_ = (*spec_.own)(logits_, inputs_of(spec_, datum_));
    Status valid = check_form();
    if (!valid) return valid.error();
    OwnLoss out{loss_.item<double>(), {}};
    if (!std::isfinite(out.value)) {
      return refuse("returned " + std::to_string(out.value) +
                    ", expected a finite number; check its inputs, or load an earlier checkpoint "
                    "and train with a lower learning rate");
    }
    if (!with_gradient) return out;
    Result<at::Tensor> gradient = differentiate();
    if (!gradient) return gradient.error();
    out.d_logits = std::move(*gradient);
    return out;
  }

 private:
  Status check_form() const {
    if (!loss_.defined()) return refuse("returned an undefined tensor, expected a scalar");
    if (loss_.numel() != 1) {
      return refuse("returned a tensor of shape " + internal::shape_text(loss_.sizes()) +
                    ", expected a scalar; sum over the positions");
    }
    if (at::isFloatingType(loss_.scalar_type())) return ok_status();
    return refuse("returned a scalar of type " + std::string(c10::toString(loss_.scalar_type())) +
                  ", expected a floating-point one");
  }

  Result<at::Tensor> differentiate() const {
    at::Tensor gradient;
    if (loss_.requires_grad()) {
      gradient = torch::autograd::grad({loss_}, {logits_}, {}, false, false, true).front();
    }
    if (!gradient.defined()) {
      return refuse(
          "returned a scalar that autograd cannot trace to the logits; compute it from "
          "them, and add logits.sum() * 0 where it does not depend on them");
    }
    if (gradient.layout() != c10::kStrided) gradient = gradient.to_dense();
    gradient = gradient.contiguous();
    if (std::isfinite(sum_of_squares(gradient))) return gradient;
    return refuse("has a gradient that is not finite, as that of sqrt and log is at 0");
  }

  const LossSpec& spec_;
  const PreparedDatum& datum_;
  const at::Tensor& logits_;
  at::Tensor loss_;
};

}  // namespace

at::Tensor empty_logits(const at::Tensor& like, std::int64_t vocab) {
  const c10::InferenceMode off(false);
  return at::empty({like.size(0), vocab}, like.options());
}

void read_target_logprobs(const at::Tensor& logits, const PreparedDatum& datum,
                          std::vector<float>& out) {
  if (datum.targets.empty()) return;
  const at::Tensor targets = token_tensor(datum.targets).view({datum.length(), datum.columns});
  float* to = out.data();
  for (std::int64_t first = 0; first < datum.length(); first += kRows) {
    const std::int64_t count = std::min(kRows, datum.length() - first);
    const at::Tensor all = at::_log_softmax(logits.narrow(0, first, count), 1, false);
    const at::Tensor picked =
        at::gather(all, 1, targets.narrow(0, first, count)).to(at::ScalarType::Float);
    to = std::copy_n(picked.const_data_ptr<float>(), picked.numel(), to);
  }
}

Result<OwnLoss> own_loss(const LossSpec& spec, const PreparedDatum& datum, std::size_t index,
                         const at::Tensor& logits, bool with_gradient) {
  const c10::InferenceMode off(false);
  const c10::AutoGradMode grad(with_gradient);
  const auto told = [&](const std::string& what) {
    return refuse("datum " + std::to_string(index) + ": the loss '" + spec.name + "' " + what);
  };
  try {
    Result<OwnLoss> loss = Evaluation(spec, datum, logits).run(with_gradient);
    if (!loss) return told(loss.error().message());
    return loss;
  } catch (const std::bad_alloc&) {
    throw;  // No mistake of the function; guarded() knows what to say.
  } catch (const Error& error) {
    return told("failed: " + error.message());
  } catch (const c10::Error& error) {
    return told(std::string("failed: ") + error.what_without_backtrace());
  } catch (const std::exception& error) {
    return told(std::string("failed: ") + error.what());
  } catch (...) {
    return told("threw something that is no std::exception");
  }
}

}  // namespace tinkex::torch_ext::local
