#include "torch_ext/local/loss_inputs.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "tinkex/base/shape.h"
#include "tinkex/validation/tensor_scan.h"
#include "torch_ext/local/refusal.h"

namespace tinkex::torch_ext::local {
namespace {

using internal::shape_text;

constexpr char kTargets[] = "target_tokens";
constexpr char kWeights[] = "weights";
constexpr char kLogprobs[] = "logprobs";
constexpr char kAdvantages[] = "advantages";
constexpr char kClipLow[] = "clip_low_threshold";
constexpr char kClipHigh[] = "clip_high_threshold";
constexpr char kRatioMask[] = "sequence_ratio_mask";

/// The elements of a dense or sparse tensor in row-major order; absent ones are 0.
template <class T>
std::vector<T> dense(const TensorData& tensor, std::vector<T> stored) {
  if (!tensor.is_sparse()) return stored;
  const auto columns = static_cast<std::size_t>(tensor.shape()[1]);
  const auto starts = tensor.crow_indices();
  const auto positions = tensor.col_indices();
  std::vector<T> out(static_cast<std::size_t>(tensor.shape()[0]) * columns);
  for (std::size_t row = 0; row + 1 < starts.size(); ++row) {
    for (auto i = static_cast<std::size_t>(starts[row]);
         i < static_cast<std::size_t>(starts[row + 1]); ++i) {
      out[row * columns + static_cast<std::size_t>(positions[i])] = stored[i];
    }
  }
  return out;
}

/// Reads the inputs of one datum and says precisely what is wrong with them.
class Preparer {
 public:
  Preparer(const Datum& datum, std::size_t index, const LossSpec& spec, const ModelConfig& model)
      : datum_(datum), what_("datum " + std::to_string(index)), spec_(spec), model_(model) {}

  Result<PreparedDatum> run() {
    Result<std::vector<std::int64_t>> tokens = checked_tokens(datum_.model_input, what_, model_);
    if (!tokens) return tokens.error();
    out_.tokens = std::move(*tokens);
    for (const auto& step : {&Preparer::check_names, &Preparer::read_targets,
                             &Preparer::read_coefficients, &Preparer::read_rest}) {
      const Status status = (this->*step)();
      if (!status) return status.error();
    }
    return std::move(out_);
  }

 private:
  std::vector<std::string_view> known_names() const {
    if (spec_.kind == LossKind::kCrossEntropy) return {kTargets, kWeights};
    std::vector<std::string_view> names{kTargets, kLogprobs, kAdvantages, kWeights};
    if (spec_.uses_clip()) names.insert(names.end(), {kClipLow, kClipHigh});
    if (spec_.whole_sequence()) names.emplace_back(kRatioMask);
    return names;
  }

  Status check_names() {
    const std::vector<std::string_view> known = known_names();
    for (std::size_t i = 0; i < datum_.loss_fn_inputs.size(); ++i) {
      const std::string& name = datum_.loss_fn_inputs[i].first;
      if (own() && name == kTokensInput) {
        return refuse(label(name) +
                      " is what the loss gets the model's input as; give this input "
                      "another name");
      }
      if (!own() && std::find(known.begin(), known.end(), name) == known.end()) {
        std::string list;
        for (const auto each : known) list += (list.empty() ? "" : ", ") + std::string(each);
        return refuse(label(name) +
                      " is no input of this loss on the embedded backend, which reads " + list);
      }
      for (std::size_t j = 0; j < i; ++j) {
        if (datum_.loss_fn_inputs[j].first == name) {
          return refuse(what_ + ": loss input '" + name + "' is given twice");
        }
      }
    }
    return ok_status();
  }

  bool own() const { return spec_.kind == LossKind::kOwn; }
  std::string label(std::string_view name) const { return what_ + ": " + std::string(name); }

  Status read_targets() {
    const TensorData* tensor = find(datum_.loss_fn_inputs, kTargets);
    if (tensor == nullptr) return own() ? ok_status() : missing(kTargets);
    if (is_floating_point(tensor->dtype())) {
      return refuse(label(kTargets) + " is " + std::string(to_string(tensor->dtype())) +
                    ", expected integer token ids");
    }
    const Shape shape = tensor->shape();
    const bool many = spec_.many_targets() && shape.size() == 2 && shape[1] > 0;
    if ((shape.size() != 1 && !many) || shape[0] != out_.length()) {
      return refuse(label(kTargets) + " has shape " + shape_text(shape) + ", expected [" +
                    std::to_string(out_.length()) + "]" +
                    (spec_.many_targets() ? " or [N, K] with the same N" : "") +
                    ", one target per position of model_input; inputs arrive already shifted");
    }
    if (many && shape[1] > model_.vocab_size) {  // stored sparsely it could be of any size
      return refuse(label(kTargets) + " has shape " + shape_text(shape) + ", but " + model_.name +
                    " has only " + std::to_string(model_.vocab_size) +
                    " tokens to choose K different targets from");
    }
    out_.target_shape.assign(shape.begin(), shape.end());
    out_.columns = many ? shape[1] : 1;
    out_.targets = dense(*tensor, tensor->to_ints());
    return check_vocabulary(out_.targets, label(kTargets));
  }

  Status check_vocabulary(const std::vector<std::int64_t>& ids, const std::string& what) const {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= 0 && ids[i] < model_.vocab_size) continue;
      return refuse(what + "[" + std::to_string(i) + "] is " + std::to_string(ids[i]) +
                    ", outside the vocabulary of " + std::to_string(model_.vocab_size) +
                    " tokens of '" + model_.name + "'; use the tokenizer of this model");
    }
    return ok_status();
  }

  Status read_coefficients() {
    if (own()) {  // Every position counts.
      out_.named = &datum_.loss_fn_inputs;
      out_.coefficients.assign(out_.tokens.size() * static_cast<std::size_t>(out_.columns), 1.0F);
      return ok_status();
    }
    if (spec_.kind != LossKind::kCrossEntropy) {
      const std::vector<std::int64_t> shape{out_.length()};
      const Status status = read_floats(kAdvantages, shape, true, out_.coefficients);
      return status ? read_floats(kWeights, shape, false, out_.weights) : status;
    }
    if (find(datum_.loss_fn_inputs, kWeights) == nullptr) {
      out_.coefficients.assign(out_.targets.size(), 1.0F);
      return ok_status();
    }
    return read_floats(kWeights, out_.target_shape, true, out_.coefficients);
  }

  Status read_rest() {
    if (!spec_.uses_sampled_logprobs()) return ok_status();
    const std::vector<std::int64_t> shape{out_.length()};
    Status status = read_floats(kLogprobs, shape, true, out_.sampled_logprobs);
    if (status && spec_.uses_clip()) status = read_floats(kClipLow, shape, false, out_.clip_low);
    if (status && spec_.uses_clip()) status = read_floats(kClipHigh, shape, false, out_.clip_high);
    if (status && spec_.whole_sequence()) {
      status = read_floats(kRatioMask, shape, false, out_.ratio_mask);
    }
    if (status) status = check_bounds();
    return status ? check_mask() : status;
  }

  Status check_mask() const {
    for (std::size_t i = 0; i < out_.ratio_mask.size(); ++i) {
      if (out_.ratio_mask[i] >= 0) continue;
      return refuse(label(kRatioMask) + "[" + std::to_string(i) + "] is " +
                    std::to_string(out_.ratio_mask[i]) +
                    ", expected 1 on the sampled tokens and 0 elsewhere");
    }
    return ok_status();
  }

  Status check_bounds() const {
    for (std::size_t i = 0; i < out_.tokens.size() && spec_.uses_clip(); ++i) {
      const TokenInputs in = out_.inputs(spec_, i, 0);
      if (in.clip_low <= in.clip_high) continue;
      return refuse(label(kClipLow) + "[" + std::to_string(i) + "] (" +
                    std::to_string(in.clip_low) + ") is above " + kClipHigh + " (" +
                    std::to_string(in.clip_high) + ")");
    }
    return ok_status();
  }

  Status read_floats(std::string_view name, const std::vector<std::int64_t>& shape, bool required,
                     std::vector<float>& out) {
    const TensorData* tensor = find(datum_.loss_fn_inputs, name);
    if (tensor == nullptr) return required ? missing(name) : ok_status();
    if (tensor->shape() != shape) {
      return refuse(label(name) + " has shape " + shape_text(tensor->shape()) + ", expected " +
                    shape_text(shape) + " as target_tokens");
    }
    out = dense(*tensor, tensor->to_floats());
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (std::isfinite(out[i])) continue;
      return refuse(label(name) + "[" + std::to_string(i) + "] is " + std::to_string(out[i]) +
                    ", expected a finite number");
    }
    return ok_status();
  }

  Status missing(std::string_view name) const {
    return refuse(what_ + ": loss input '" + std::string(name) + "' is missing");
  }

  const Datum& datum_;
  std::string what_;
  const LossSpec& spec_;
  const ModelConfig& model_;
  PreparedDatum out_;
};

Status append_tokens(const ModelInputChunk& chunk, const std::string& what,
                     const ModelConfig& model, std::vector<std::int64_t>& tokens) {
  const auto* text = std::get_if<EncodedTextChunk>(&chunk);
  if (text == nullptr) {
    return refuse(what + ": model '" + model.name + "' reads text only; remove the image chunk");
  }
  const TensorData& part = text->tokens;
  if (is_floating_point(part.dtype()) || part.is_sparse() || part.shape().size() != 1) {
    return refuse(what + ": tokens must be a dense 1-D integer tensor, not " +
                  std::string(to_string(part.dtype())) + " of shape " + shape_text(part.shape()));
  }
  for (const std::int64_t id : part.to_ints()) {
    if (id < 0 || id >= model.vocab_size) {
      return refuse(what + ": token " + std::to_string(tokens.size()) + " is " +
                    std::to_string(id) + ", outside the vocabulary of " +
                    std::to_string(model.vocab_size) + " tokens of '" + model.name +
                    "'; use the tokenizer of this model");
    }
    tokens.push_back(id);
  }
  return ok_status();
}

}  // namespace

bool PreparedDatum::has_coefficient(std::size_t i) const {
  if (!weights.empty() && weights[i] == 0) return false;
  const auto k = static_cast<std::size_t>(columns);
  return std::any_of(coefficients.begin() + static_cast<std::ptrdiff_t>(i * k),
                     coefficients.begin() + static_cast<std::ptrdiff_t>((i + 1) * k),
                     [](float c) { return c != 0; });
}

double PreparedDatum::in_ratio(std::size_t i) const {
  if (!ratio_mask.empty()) return static_cast<double>(ratio_mask[i]);
  return coefficients[i] != 0 ? 1.0 : 0.0;
}

bool PreparedDatum::may_have_gradient(const LossSpec& spec, std::size_t i) const {
  if (spec.whole_sequence()) return in_ratio(i) != 0;
  return !spec.zero_without_coefficient() || has_coefficient(i);
}

TokenInputs PreparedDatum::inputs(const LossSpec& spec, std::size_t i, std::size_t k) const {
  TokenInputs in;
  in.coefficient = coefficients[i * static_cast<std::size_t>(columns) + k];
  if (!weights.empty()) in.weight = weights[i];
  if (!sampled_logprobs.empty()) in.sampled_logprob = sampled_logprobs[i];
  in.clip_low = clip_low.empty() ? spec.clip_low : clip_low[i];
  in.clip_high = clip_high.empty() ? spec.clip_high : clip_high[i];
  return in;
}

Result<PreparedDatum> prepare_datum(const Datum& datum, std::size_t index, const LossSpec& spec,
                                    const ModelConfig& model) {
  return Preparer(datum, index, spec, model).run();
}

Result<std::vector<std::int64_t>> checked_tokens(const ModelInput& input, const std::string& what,
                                                 const ModelConfig& model) {
  std::vector<std::int64_t> tokens;
  for (const ModelInputChunk& chunk : input.chunks) {
    const Status status = append_tokens(chunk, what, model, tokens);
    if (!status) return status.error();
  }
  if (tokens.empty()) return refuse(what + ": there are no tokens; give at least one");
  if (static_cast<std::int64_t>(tokens.size()) > model.max_position_embeddings) {
    return refuse(what + ": " + std::to_string(tokens.size()) + " tokens are more than the " +
                  std::to_string(model.max_position_embeddings) + " that '" + model.name +
                  "' can read; shorten the sequence");
  }
  return tokens;
}

}  // namespace tinkex::torch_ext::local
