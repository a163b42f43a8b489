#include "tinkex/connection/custom_loss.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "tinkex/base/shape.h"
#include "tinkex/base/text.h"
#include "tinkex/future.h"
#include "tinkex/validation/problems.h"
#include "tinkex/validation/tensor_scan.h"

namespace tinkex::internal {
namespace {

constexpr char kTargets[] = "target_tokens";
constexpr char kWeights[] = "weights";
constexpr char kLogprobs[] = "logprobs";
constexpr char kLoss[] = "loss:sum";
constexpr char kSurrogateLoss[] = "surrogate_loss:sum";

TensorData copy_of(const TensorData& tensor) {
  const auto bytes = std::make_shared<const std::vector<std::byte>>(
      tensor.data(), tensor.data() + tensor.size_bytes());
  if (!tensor.is_sparse()) {
    return TensorData::share(bytes, bytes->data(), tensor.dtype(), tensor.shape());
  }
  const auto crow = tensor.crow_indices();
  const auto col = tensor.col_indices();
  return TensorData::sparse_csr(TensorData::share(bytes, bytes->data(), tensor.dtype(),
                                                  {static_cast<std::int64_t>(tensor.size())}),
                                {crow.begin(), crow.end()}, {col.begin(), col.end()},
                                tensor.shape())
      .value();
}

ModelInput copy_of(ModelInput input) {
  for (ModelInputChunk& chunk : input.chunks) {
    if (auto* text = std::get_if<EncodedTextChunk>(&chunk)) text->tokens = copy_of(text->tokens);
  }
  return input;
}

NamedTensors copy_of(NamedTensors tensors) {
  for (auto& [name, tensor] : tensors) tensor = copy_of(tensor);
  return tensors;
}

/// Zeros for every datum, from one allocation.
class Zeros {
 public:
  TensorData like(const TensorData& tensor) {
    if (!values_ || values_->size() < tensor.size()) {
      values_ = std::make_shared<const std::vector<float>>(tensor.size());
    }
    return TensorData::share(values_, values_->data(), DType::kFloat32, tensor.shape());
  }

 private:
  std::shared_ptr<const std::vector<float>> values_;
};

Status check_output(const CustomLossOutput& output, std::span<const TensorData> logprobs) {
  Problems problems;
  const std::vector<TensorData>& gradients = output.gradients;
  if (!std::isfinite(output.loss)) {
    problems.add({std::nullopt, "loss"}, "a finite number", number_text(output.loss),
                 "look for a division by zero, an overflow or the logarithm of 0 in it");
  }
  if (gradients.size() != logprobs.size()) {
    problems.add(
        {std::nullopt, "gradients"}, std::to_string(logprobs.size()) + " arrays, one per datum",
        std::to_string(gradients.size()), "give zeros where a datum has no influence on the loss");
  }
  for (std::size_t i = 0; i < std::min(gradients.size(), logprobs.size()); ++i) {
    const Place place{i, "gradient"};
    const TensorData& gradient = gradients[i];
    if (gradient.is_sparse() || gradient.shape() != logprobs[i].shape() || !is_readable(gradient)) {
      problems.add(
          place, "a dense array of shape " + shape_text(logprobs[i].shape()) + " like the logprobs",
          (gradient.is_sparse() ? "a sparse one of shape " : "shape ") +
              shape_text(gradient.shape()),
          "give the derivative of the loss by each logprob");
    } else if (const auto bad = find_not_finite(gradient)) {
      problems.add(place, "finite float32 values",
                   element_text(gradient, *bad) + " at element " + std::to_string(*bad),
                   "look for a division by zero or an overflow where it is computed");
    }
  }
  Status status = problems.status();
  if (status.ok()) return status;
  return invalid_argument("the custom loss gave: " + status.error().message());
}

/// The first pass was accepted, whatever the function's own error says.
Error failed(Error error) { return std::move(error).with_not_accepted(false); }

}  // namespace

CustomLossBatch::CustomLossBatch(std::span<const Datum> data) {
  Zeros zeros;
  data_.reserve(data.size());
  inputs_.reserve(data.size());
  for (const Datum& datum : data) {
    const NamedTensors& inputs = inputs_.emplace_back(copy_of(datum.loss_fn_inputs));
    const TensorData& targets = *find(inputs, kTargets);
    const TensorData* weights = find(inputs, kWeights);
    data_.push_back({copy_of(datum.model_input),
                     {{kTargets, targets}, {kWeights, weights ? *weights : zeros.like(targets)}}});
  }
}

Result<CustomLossOutput> CustomLossBatch::differentiate(const CustomLoss& loss,
                                                        ForwardBackwardOutput forward) {
  auto logprobs = take_logprobs(forward);
  if (!logprobs.ok()) return std::move(logprobs).error();
  for (std::size_t i = 0; i < data_.size(); ++i) data_[i].loss_fn_inputs = std::move(inputs_[i]);
  auto output = invoke_guarded<CustomLossOutput>(loss, std::span<const Datum>(data_),
                                                 std::span<const TensorData>(*logprobs));
  if (!output.ok()) return failed(std::move(output).error().with_context("the custom loss failed"));
  if (Status valid = check_output(*output, *logprobs); !valid.ok()) {
    return failed(std::move(valid).error());
  }
  set_gradients(output->gradients);
  output->gradients.clear();
  return output;
}

Result<std::vector<TensorData>> CustomLossBatch::take_logprobs(
    ForwardBackwardOutput& forward) const {
  const auto fail = [](std::size_t datum, const std::string& what) {
    return Error(ErrorCode::kDecode, "the server's answer for datum " + std::to_string(datum) +
                                         " has " + what + "; the custom loss was not called");
  };
  std::vector<TensorData> logprobs;
  logprobs.reserve(data_.size());
  for (std::size_t i = 0; i < data_.size(); ++i) {  // combining has compared the counts
    const TensorData* found = find(forward.loss_fn_outputs[i], kLogprobs);
    const TensorData& targets = *find(data_[i].loss_fn_inputs, kTargets);
    if (found == nullptr) return fail(i, "no logprobs");
    if (found->size() != targets.size()) {
      return fail(i, "logprobs of shape " + shape_text(found->shape()) +
                         " but its target_tokens have shape " + shape_text(targets.shape()));
    }
    // Some servers lose the shape of an [N, K] array.
    logprobs.push_back(found->shape() == targets.shape()
                           ? *found
                           : TensorData::from(found->to_floats(), targets.shape()));
  }
  return logprobs;
}

void CustomLossBatch::set_gradients(std::span<const TensorData> gradients) {
  for (std::size_t i = 0; i < data_.size(); ++i) {
    NamedTensors& inputs = data_[i].loss_fn_inputs;
    const TensorData targets = *find(inputs, kTargets);
    std::vector<float> weights = gradients[i].to_floats();
    for (float& weight : weights) weight = -weight;
    inputs = {{kTargets, targets},
              {kWeights, TensorData::from(std::move(weights), targets.shape())}};
  }
}

ForwardBackwardOutput with_custom_loss(ForwardBackwardOutput output, const CustomLossOutput& loss) {
  const auto server = output.metrics.find(kLoss);
  const std::optional<double> surrogate =
      server == output.metrics.end() ? std::nullopt : std::optional(server->second);
  for (const auto& [name, value] : loss.metrics) output.metrics.insert_or_assign(name, value);
  if (surrogate) output.metrics.insert_or_assign(kSurrogateLoss, *surrogate);
  output.metrics.insert_or_assign(kLoss, loss.loss);
  return output;
}

}  // namespace tinkex::internal
