#include <algorithm>
#include <string>
#include <utility>

#include "tinkex/base/shape.h"
#include "tinkex/base/text.h"
#include "tinkex/validate.h"
#include "tinkex/validation/losses.h"
#include "tinkex/validation/problems.h"
#include "tinkex/validation/prompt.h"
#include "tinkex/validation/tensor_scan.h"

namespace tinkex {
namespace internal {
namespace {

/// Of an array; the encoders take no more.
constexpr std::size_t kMostDimensions = 16;

std::string names_of(const NamedTensors& tensors) {
  std::string names;
  for (const auto& [name, tensor] : tensors) names += (names.empty() ? "" : ", ") + quoted(name);
  return names.empty() ? "no inputs" : "only " + names;
}

/// Checks the datums of one batch, one after another.
class BatchCheck {
 public:
  BatchCheck(const LossRules* loss, const PromptRules& rules, Problems& problems)
      : loss_(loss), rules_(rules), problems_(problems) {}

  void check(const Datum& datum, std::size_t index) {
    index_ = index;
    check_prompt(datum.model_input, {index, "model_input"}, rules_, problems_);
    check_names(datum.loss_fn_inputs);
    const TensorData* targets = nullptr;
    for (const auto& [name, tensor] : datum.loss_fn_inputs) {
      if (!check_readable(name, tensor) || name != kTargetTokens) continue;
      targets = &tensor;
      check_targets(tensor, datum.model_input);
    }
    if (loss_ != nullptr) check_inputs(datum.loss_fn_inputs, targets);
  }

 private:
  void add(std::string_view input, std::string_view expected, std::string_view actual,
           std::string_view remedy) {
    problems_.add({index_, input}, expected, actual, remedy);
  }

  /// What the encoders demand of the names, and the loss of which there are.
  void check_names(const NamedTensors& inputs) {
    for (auto input = inputs.begin(); input != inputs.end(); ++input) {
      const std::string& name = input->first;
      if (!is_utf8(name)) add(name, "a name in UTF-8", quoted(name), "rename the input");
      const auto same_name = [&name](const auto& other) { return other.first == name; };
      if (std::any_of(inputs.begin(), input, same_name)) {
        add(name, "each input once", "it twice", "remove one of them");
      }
      if (loss_ == nullptr || loss_->other_inputs || loss_->knows(name)) continue;
      add(name, "an input of " + std::string(loss_->name) + " (" + inputs_of(*loss_) + ")",
          "one that it does not take", "remove it");
    }
    if (loss_ == nullptr) return;
    for (const std::string_view name : loss_->required) {
      if (find(inputs, name) != nullptr) continue;
      add(name, "this input, which " + std::string(loss_->name) + " needs", names_of(inputs),
          "add it to loss_fn_inputs");
    }
  }

  /// False: the elements cannot be looked at.
  bool check_readable(std::string_view name, const TensorData& tensor) {
    const std::size_t dimensions = tensor.shape().size();
    if (dimensions > kMostDimensions) {
      add(name, "at most " + std::to_string(kMostDimensions) + " dimensions",
          std::to_string(dimensions), "flatten it");
    }
    if (is_readable(tensor)) return true;
    add(name, "elements to read", "shape " + shape_text(tensor.shape()) + " without memory",
        "build the TensorData from existing memory and a shape without negative extents");
    return false;
  }

  void check_targets(const TensorData& targets, const ModelInput& prompt) {
    if (!holds_integers(targets)) {
      add(kTargetTokens, "integer token ids", to_string(targets.dtype()), "convert them to int64");
    } else if (loss_ != nullptr) {
      const auto bad = find_not_a_token(targets, rules_.token_limit);
      if (bad) {
        add(kTargetTokens, rules_.expected_tokens(),
            element_text(targets, *bad) + " at element " + std::to_string(*bad),
            "where a position should not count, give any token and the weight 0");
      }
    }
    if (loss_ != nullptr) check_target_shape(targets.shape(), prompt);
  }

  void check_target_shape(Shape shape, const ModelInput& prompt) {
    const bool many = loss_->many_targets && shape.size() == 2 && shape[1] > 0;
    if (shape.size() != 1 && !many) {
      add(kTargetTokens,
          loss_->many_targets ? "shape [N] or, with K > 0 targets per position, [N, K]"
                              : "shape [N]",
          shape_text(shape), "reshape it");
      return;
    }
    const std::optional<std::size_t> length = prompt.length();
    if (!length || static_cast<std::size_t>(shape[0]) == *length) return;
    add(kTargetTokens, std::to_string(*length) + " rows, one per token of model_input",
        std::to_string(shape[0]),
        "for a sequence s, model_input is s without its last token and target_tokens is s without "
        "its first");
  }

  /// The loss's own inputs beside the targets.
  void check_inputs(const NamedTensors& inputs, const TensorData* targets) {
    for (const auto& [name, tensor] : inputs) {
      if (!loss_->knows(name) || !is_readable(tensor)) continue;
      if (loss_->dense && tensor.is_sparse()) {
        add(name, "a dense array", "a sparse one of shape " + shape_text(tensor.shape()),
            std::string(loss_->name) + " has a derivative for every element; make it dense");
      }
      if (name == kTargetTokens) continue;
      if (targets && tensor.shape() != targets->shape()) {
        add(name, "shape " + shape_text(targets->shape()) + " like target_tokens",
            shape_text(tensor.shape()), "give one value per target token");
      }
      if (const auto bad = find_not_finite(tensor)) {
        add(name, "finite float32 values",
            element_text(tensor, *bad) + " at element " + std::to_string(*bad),
            "look for a division by zero or an overflow where it is computed");
      }
    }
  }

  const LossRules* const loss_;
  const PromptRules& rules_;
  Problems& problems_;
  std::size_t index_ = 0;
};

void check_data(std::span<const Datum> data, const LossRules* loss,
                const ValidationOptions& options, Problems& problems) {
  if (data.empty()) {
    problems.add({std::nullopt, "data"}, "at least one datum", "an empty batch",
                 "skip the call when there is nothing to train on");
  }
  const PromptRules rules = prompt_rules(options, problems);
  BatchCheck batch(loss, rules, problems);
  for (std::size_t i = 0; i < data.size(); ++i) batch.check(data[i], i);
}

/// What the encoders demand of the settings of any loss.
void check_texts(const LossConfig& config, Problems& problems) {
  for (const auto& [name, value] : config) {
    const std::string* text = std::get_if<std::string>(&value);
    if (is_utf8(name) && (text == nullptr || is_utf8(*text))) continue;
    problems.add({std::nullopt, "loss_fn_config " + quoted(name)}, "a name and a value in UTF-8",
                 text ? quoted(*text) : quoted(name), "pass binary data encoded, as base64 or hex");
  }
}

}  // namespace
}  // namespace internal

ProblemList find_problems(std::span<const Datum> data, std::string_view loss_fn,
                          const LossConfig& config, const ValidationOptions& options) {
  internal::Problems problems(options.max_problems);
  const internal::LossRules* loss = internal::find_loss(loss_fn);
  if (loss_fn.empty() || !internal::is_utf8(loss_fn)) {
    problems.add({std::nullopt, "loss_fn"}, "the name of a loss",
                 loss_fn.empty() ? "an empty text" : internal::quoted(loss_fn),
                 "give one such as 'cross_entropy'");
  }
  if (loss != nullptr) {
    internal::check_settings(config, *loss, problems);
  } else {
    internal::check_texts(config, problems);
  }
  internal::check_data(data, loss, options, problems);
  return std::move(problems).take();
}

Status validate(std::span<const Datum> data, std::string_view loss_fn, const LossConfig& config,
                const ValidationOptions& options) {
  return find_problems(data, loss_fn, config, options).status();
}

ProblemList find_custom_loss_problems(std::span<const Datum> data,
                                      const ValidationOptions& options) {
  internal::Problems problems(options.max_problems);
  internal::check_data(data, &internal::custom_loss_function(), options, problems);
  return std::move(problems).take();
}

}  // namespace tinkex
