#include "tinkex/training/validate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "tinkex/base/shape.h"
#include "tinkex/base/text.h"
#include "tinkex/validation/problems.h"
#include "tinkex/validation/prompt.h"
#include "tinkex/validation/tensor_scan.h"

namespace tinkex::internal {
namespace {

constexpr std::string_view kTargets = "target_tokens";

/// The inputs that a loss of the API takes.
struct LossInputs {
  std::string_view loss_fn;
  std::span<const std::string_view> required;
  std::span<const std::string_view> optional;

  bool takes(std::string_view name) const {
    return std::ranges::count(required, name) + std::ranges::count(optional, name) > 0;
  }
};

constexpr std::array<std::string_view, 1> kTargetsOnly{kTargets};
constexpr std::array<std::string_view, 1> kWeights{"weights"};
constexpr std::array<std::string_view, 3> kPolicyInputs{kTargets, "logprobs", "advantages"};
constexpr std::array<std::string_view, 4> kPolicyOptions{
    "weights", "clip_low_threshold", "clip_high_threshold", "sequence_ratio_mask"};

constexpr std::array<LossInputs, 5> kKnownLosses{{
    {loss::kCrossEntropy, kTargetsOnly, kWeights},
    {loss::kImportanceSampling, kPolicyInputs, kPolicyOptions},
    {loss::kPpo, kPolicyInputs, kPolicyOptions},
    {loss::kCispo, kPolicyInputs, kPolicyOptions},
    {loss::kDro, kPolicyInputs, kPolicyOptions},
}};

const LossInputs* find_loss(std::string_view loss_fn) {
  const auto found = std::ranges::find(kKnownLosses, loss_fn, &LossInputs::loss_fn);
  return found == kKnownLosses.end() ? nullptr : &*found;
}

std::string names_of(const LossInputs& loss) {
  std::string names;
  for (const auto& group : {loss.required, loss.optional}) {
    for (const std::string_view name : group) {
      if (!names.empty()) names += ", ";
      names += name;
    }
  }
  return names;
}

std::string names_of(const NamedTensors& tensors) {
  std::string names;
  for (const auto& [name, tensor] : tensors) names += (names.empty() ? "" : ", ") + quoted(name);
  return names.empty() ? "no inputs" : "only " + names;
}

/// What holds for the inputs of any loss. False: they cannot even be looked at.
bool check_readable(const Datum& datum, std::size_t index, Problems& problems) {
  bool readable = true;
  for (auto input = datum.loss_fn_inputs.begin(); input != datum.loss_fn_inputs.end(); ++input) {
    const auto& [name, tensor] = *input;
    if (!is_readable(tensor)) {
      readable = false;
      problems.add(
          {index, name}, "elements to read",
          "shape " + shape_text(tensor.shape()) + " without memory",
          "build the TensorData from existing memory and a shape without negative extents");
    }
    const auto same_name = [&name = name](const auto& other) { return other.first == name; };
    if (std::any_of(datum.loss_fn_inputs.begin(), input, same_name)) {
      problems.add({index, name}, "each input once", "it twice", "remove one of them");
    }
  }
  return readable;
}

void check_names(const Datum& datum, std::size_t index, const LossInputs& loss,
                 Problems& problems) {
  for (const std::string_view name : loss.required) {
    if (find(datum.loss_fn_inputs, name) == nullptr) {
      problems.add({index, name}, "this input, which " + std::string(loss.loss_fn) + " needs",
                   names_of(datum.loss_fn_inputs), "add it to loss_fn_inputs");
    }
  }
  for (const auto& [name, tensor] : datum.loss_fn_inputs) {
    if (loss.takes(name)) continue;
    problems.add({index, name},
                 "an input of " + std::string(loss.loss_fn) + " (" + names_of(loss) + ")",
                 "one that it does not take", "remove it");
  }
}

void check_targets(const Datum& datum, std::size_t index, const TensorData& targets,
                   Problems& problems) {
  const Place place{index, kTargets};
  if (!holds_integers(targets)) {
    problems.add(place, "integer token ids", to_string(targets.dtype()), "convert them to int64");
  } else if (const auto bad = find_not_a_token(targets)) {
    problems.add(place, "token ids in [0, 2147483648)",
                 element_text(targets, *bad) + " at element " + std::to_string(*bad),
                 "where a position should not count, give any token and the weight 0");
  }
  const auto& shape = targets.shape();
  if (shape.size() != 1 && shape.size() != 2) {
    problems.add(place, "shape [N] or, with K targets per position, [N, K]", shape_text(shape),
                 "reshape it");
    return;
  }
  const std::optional<std::size_t> length = datum.model_input.length();
  if (length && static_cast<std::size_t>(shape[0]) != *length) {
    problems.add(place, std::to_string(*length) + " rows, one per token of model_input",
                 std::to_string(shape[0]),
                 "for a sequence s, model_input is s without its last token and target_tokens is s "
                 "without its first");
  }
}

void check_values(const Datum& datum, std::size_t index, const TensorData* targets,
                  Problems& problems) {
  for (const auto& [name, tensor] : datum.loss_fn_inputs) {
    if (name == kTargets) continue;
    if (targets && tensor.shape() != targets->shape()) {
      problems.add({index, name}, "shape " + shape_text(targets->shape()) + " like target_tokens",
                   shape_text(tensor.shape()), "give one value per target token");
    }
    if (const auto bad = find_not_finite(tensor)) {
      problems.add({index, name}, "finite float32 values",
                   element_text(tensor, *bad) + " at element " + std::to_string(*bad),
                   "look for a division by zero or an overflow where it is computed");
    }
  }
}

void check_datum(const Datum& datum, std::size_t index, const LossInputs* loss,
                 Problems& problems) {
  check_prompt(datum.model_input, index, problems);
  const bool readable = check_readable(datum, index, problems);
  if (loss == nullptr) return;
  check_names(datum, index, *loss, problems);
  if (!readable) return;
  const TensorData* targets = find(datum.loss_fn_inputs, kTargets);
  if (targets) check_targets(datum, index, *targets, problems);
  check_values(datum, index, targets, problems);
}

void check_config(const LossConfig& config, Problems& problems) {
  for (const auto& [name, value] : config) {
    const double* number = std::get_if<double>(&value);
    if (number == nullptr || std::isfinite(*number)) continue;
    problems.add({std::nullopt, "loss_fn_config " + quoted(name)}, "a finite number",
                 number_text(*number), "leave it out for the server's default");
  }
}

}  // namespace

Status validate_batch(std::span<const Datum> data, std::string_view loss_fn,
                      const LossConfig& config) {
  Problems problems;
  if (loss_fn.empty()) {
    problems.add({std::nullopt, "loss_fn"}, "the name of a loss", "an empty text",
                 "give one such as 'cross_entropy'");
  }
  if (data.empty()) {
    problems.add({std::nullopt, "data"}, "at least one datum", "an empty batch",
                 "skip the call when there is nothing to train on");
  }
  const LossInputs* loss = find_loss(loss_fn);
  if (loss != nullptr) check_config(config, problems);
  for (std::size_t i = 0; i < data.size(); ++i) check_datum(data[i], i, loss, problems);
  return problems.status();
}

}  // namespace tinkex::internal
