#include "examples/support/checkup.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace sft {
namespace {

/// Whether the logprobs of the trained tokens are finite; nothing if there are none. Those of other
/// tokens prove nothing: a server may leave them out.
std::optional<bool> are_finite(const tinkex::NamedTensors& outputs, const tinkex::Datum& datum) {
  const tinkex::TensorData* logprobs = tinkex::find(outputs, "logprobs");
  const tinkex::TensorData* weights = tinkex::find(datum.loss_fn_inputs, "weights");
  if (logprobs == nullptr || weights == nullptr) return std::nullopt;
  const std::vector<float> values = logprobs->to_floats();
  const std::vector<float> factors = weights->to_floats();
  std::optional<bool> finite;
  for (std::size_t i = 0; i < std::min(values.size(), factors.size()); ++i) {
    if (factors[i] != 0) finite = finite.value_or(true) && std::isfinite(values[i]);
  }
  return finite;
}

}  // namespace

Checkup examine(const tinkex::Result<tinkex::ForwardBackwardOutput>& pass,
                std::span<const tinkex::Datum> data, bool embedded) {
  if (!pass) {
    const bool refused = embedded && pass.error().category() == tinkex::ErrorCategory::kUser;
    return {refused ? Health::kRuined : Health::kUnknown, pass.error().message()};
  }
  // Some servers tell no loss of a pass without a gradient, or call it 0.
  bool told = false;
  if (const auto loss = pass->metrics.find("loss:sum"); loss != pass->metrics.end()) {
    if (!std::isfinite(loss->second)) return {Health::kRuined, "the loss is not finite"};
    told = loss->second != 0;
  }
  for (std::size_t i = 0; i < std::min(data.size(), pass->loss_fn_outputs.size()); ++i) {
    const std::optional<bool> finite = are_finite(pass->loss_fn_outputs[i], data[i]);
    if (finite == false) return {Health::kRuined, "a log-probability is not finite"};
    told = told || finite;
  }
  if (told) return {};
  return {Health::kUnknown, "the server tells neither a loss nor log-probabilities"};
}

}  // namespace sft
