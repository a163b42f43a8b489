#include "torch_ext/remote/sequences.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "tinkex/base/shape.h"
#include "tinkex/base/token_id.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/host_copies.h"

namespace tinkex::torch_ext::remote {
namespace {

using internal::is_token_id;
using internal::shape_text;

/// Token ids as a copy, with the shape of the tensor that they are from.
struct Ids {
  std::vector<std::int64_t> values;
  std::vector<std::int64_t> shape;
};

/// Which element it is: "8", or "[1, 3]" where there are more dimensions than one.
std::string place_text(std::int64_t element, const std::vector<std::int64_t>& shape) {
  if (shape.size() < 2) return std::to_string(element);
  std::vector<std::int64_t> place(shape.size());
  for (std::size_t i = shape.size(); i-- > 0; element /= shape[i]) place[i] = element % shape[i];
  return shape_text(place);
}

Result<Ids> read_ids(const at::Tensor& tensor, TensorName name) {
  const Result<TensorData> data = borrow_token_ids(tensor, name);
  if (!data) return data.error();
  return Ids{data->to_ints(), data->shape()};
}

Error no_token_id(TensorName name, const Ids& ids, std::size_t element) {
  return invalid_argument(
      name.text() + " has " + std::to_string(ids.values[element]) + " at element " +
      place_text(static_cast<std::int64_t>(element), ids.shape) + ", expected token ids");
}

/// That those `count` from `first` on, which will be sent, are token ids.
Status check_token_ids(TensorName name, const Ids& ids, std::size_t first, std::size_t count) {
  for (std::size_t i = first; i < first + count; ++i) {
    if (!is_token_id(ids.values[i])) return no_token_id(name, ids, i);
  }
  return ok_status();
}

/// Ids, which may also be kIgnoreIndex.
Result<Ids> read_targets(const at::Tensor& tensor, TensorName name) {
  Result<Ids> targets = read_ids(tensor, name);
  if (!targets) return targets;
  const auto bad = std::ranges::find_if(
      targets->values, [](std::int64_t id) { return !is_token_id(id) && id != kIgnoreIndex; });
  if (bad == targets->values.end()) return targets;
  const auto element = static_cast<std::size_t>(bad - targets->values.begin());
  const Error error = no_token_id(name, *targets, element);
  return invalid_argument(error.message() + ", or " + std::to_string(kIgnoreIndex) +
                          " where a position does not count");
}

Error wrong_shape(TensorName name, const Ids& ids, std::string_view expected) {
  return invalid_argument(name.text() + " has shape " + shape_text(ids.shape) + ", expected " +
                          std::string(expected));
}

/// Whether there is a target, or a row of them, for each token.
bool fit(const Ids& targets, const Ids& tokens) {
  const std::size_t dimensions = tokens.shape.size();
  return (targets.shape.size() == dimensions || targets.shape.size() == dimensions + 1) &&
         std::equal(tokens.shape.begin(), tokens.shape.end(), targets.shape.begin());
}

/// Sequence `i` of a list, if its tensors fit each other.
Result<std::pair<Ids, Ids>> read_sequence(const at::Tensor& tokens, const at::Tensor& targets,
                                          std::size_t i) {
  Result<Ids> ids = read_ids(tokens, {"tokens", i});
  if (!ids) return std::move(ids).error();
  Result<Ids> wanted = read_targets(targets, {"targets", i});
  if (!wanted) return std::move(wanted).error();
  const std::size_t length = ids->values.size();
  if (ids->shape.size() != 1 || length == 0) {
    return wrong_shape({"tokens", i}, *ids, "one dimension and at least one token id");
  }
  if (Status checked = check_token_ids({"tokens", i}, *ids, 0, length); !checked) {
    return std::move(checked).error();
  }
  if (!fit(*wanted, *ids) || wanted->values.empty()) {
    const std::string text = std::to_string(length);
    return wrong_shape({"targets", i}, *wanted,
                       "[" + text + "] or [" + text + ", K], a target after each token");
  }
  return std::pair(*std::move(ids), *std::move(wanted));
}

/// The padded batch, if its tensors fit each other.
Result<std::pair<Ids, Ids>> read_padded(const at::Tensor& tokens, const at::Tensor& targets) {
  HostCopies copies;
  const at::Tensor tokens_on_host = copies.start(tokens);
  const at::Tensor targets_on_host = copies.start(targets);
  copies.finish();
  Result<Ids> ids = read_ids(tokens_on_host, "tokens");
  if (!ids) return std::move(ids).error();
  Result<Ids> wanted = read_targets(targets_on_host, "targets");
  if (!wanted) return std::move(wanted).error();
  if (ids->shape.size() == 1) {
    return wrong_shape("tokens", *ids,
                       "[batch, length]; of a single sequence take unsqueeze(0) of tokens and "
                       "targets, or give lists of sequences");
  }
  if (ids->shape.size() != 2 || ids->values.empty()) {
    return wrong_shape("tokens", *ids, "[batch, length], neither of them 0");
  }
  if (!fit(*wanted, *ids) || wanted->values.empty()) {
    return wrong_shape("targets", *wanted,
                       "the shape of tokens, " + shape_text(ids->shape) +
                           ", or K targets for each of its positions");
  }
  return std::pair(*std::move(ids), *std::move(wanted));
}

}  // namespace

void Sequences::add(std::span<const std::int64_t> tokens, std::span<const std::int64_t> targets,
                    std::vector<std::int64_t> target_shape, std::size_t offset, std::size_t row) {
  std::vector<std::int64_t> ids(targets.begin(), targets.end());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] != kIgnoreIndex) continue;
    ids[i] = 0;  // the API wants a token everywhere
    ignored_.push_back(offset + i);
  }
  Datum datum;
  datum.model_input =
      ModelInput::from_tokens(std::vector<std::int64_t>(tokens.begin(), tokens.end()));
  datum.loss_fn_inputs.emplace_back("target_tokens",
                                    TensorData::from(std::move(ids), std::move(target_shape)));
  data_.push_back(std::move(datum));
  rows_.push_back(row);
  offsets_.push_back(offset);
}

Result<Sequences> Sequences::from_lists(const std::vector<at::Tensor>& tokens,
                                        const std::vector<at::Tensor>& targets) {
  if (tokens.empty()) {
    return invalid_argument("tokens is empty, expected at least one sequence of token ids");
  }
  if (tokens.size() != targets.size()) {
    return invalid_argument("tokens has " + std::to_string(tokens.size()) +
                            " sequences but targets has " + std::to_string(targets.size()) +
                            "; give one tensor of targets per sequence");
  }
  HostCopies copies;
  const HostTensors tokens_on_host(tokens, copies);
  const HostTensors targets_on_host(targets, copies);
  copies.finish();
  Sequences all;
  std::size_t offset = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto sequence = read_sequence(tokens_on_host.get()[i], targets_on_host.get()[i], i);
    if (!sequence) return sequence.error();
    const auto& [ids, wanted] = *sequence;
    all.add(ids.values, wanted.values, wanted.shape, offset, i);
    offset += wanted.values.size();
  }
  all.result_shape_ = {static_cast<std::int64_t>(offset)};
  return all;
}

Result<Sequences> Sequences::from_padded(const at::Tensor& tokens, const at::Tensor& targets) {
  const auto batch = read_padded(tokens, targets);
  if (!batch) return batch.error();
  const auto& [ids, wanted] = *batch;
  const auto rows = static_cast<std::size_t>(ids.shape[0]);
  const std::size_t row_tokens = ids.values.size() / rows;
  const std::size_t row_targets = wanted.values.size() / rows;
  const std::size_t per_token = row_targets / row_tokens;
  Sequences all;
  for (std::size_t row = 0; row < rows; ++row) {
    const auto row_of = std::span(wanted.values).subspan(row * row_targets, row_targets);
    std::size_t end = row_targets;
    while (end > 0 && row_of[end - 1] == kIgnoreIndex) --end;
    const std::size_t length = (end + per_token - 1) / per_token;
    if (length == 0) continue;
    const auto sent = std::span(ids.values).subspan(row * row_tokens, length);
    if (Status checked = check_token_ids("tokens", ids, row * row_tokens, length); !checked) {
      return std::move(checked).error();
    }
    std::vector<std::int64_t> shape(wanted.shape.begin() + 1, wanted.shape.end());
    shape.front() = static_cast<std::int64_t>(length);
    all.add(sent, row_of.first(length * per_token), std::move(shape), row * row_targets, row);
  }
  if (all.data_.empty()) {
    return invalid_argument("targets holds nothing but " + std::to_string(kIgnoreIndex) +
                            ", expected a target that counts");
  }
  all.result_shape_ = wanted.shape;
  return all;
}

Error Sequences::in_the_callers_terms(const Error& error) const {
  const std::size_t rows = rows_.back() + 1;
  if (rows == rows_.size()) return error;
  std::size_t left_out = 0;
  while (rows_[left_out] == left_out) ++left_out;
  return Error(error).with_context("not counting rows without a target that counts, such as row " +
                                   std::to_string(left_out));
}

Result<at::Tensor> Sequences::logprobs(const ForwardBackwardOutput& output) const {
  if (output.loss_fn_outputs.size() != data_.size()) {
    return Error(ErrorCode::kDecode, "the server gave results of " +
                                         std::to_string(output.loss_fn_outputs.size()) +
                                         " sequences, expected " + std::to_string(data_.size()));
  }
  at::Tensor all = at::zeros(result_shape_, at::kFloat);
  float* out = all.mutable_data_ptr<float>();
  for (std::size_t i = 0; i < data_.size(); ++i) {
    const TensorData* values = find(output.loss_fn_outputs[i], "logprobs");
    const std::size_t expected = data_[i].loss_fn_inputs.front().second.size();
    if (values == nullptr || values->is_sparse() || values->size() != expected) {
      return Error(ErrorCode::kDecode,
                   "the server gave " +
                       (values == nullptr ? std::string("no logprobs")
                                          : std::to_string(values->size()) + " logprobs") +
                       " for sequence " + std::to_string(rows_[i]) + ", expected " +
                       std::to_string(expected));
    }
    const std::vector<float> floats = values->to_floats();
    std::copy(floats.begin(), floats.end(), out + offsets_[i]);
  }
  for (const std::size_t place : ignored_) out[place] = 0;
  return all;
}

Status Sequences::append_weighted(const at::Tensor& gradient, std::vector<Datum>& out,
                                  std::vector<at::Tensor>& keep) const {
  // gather(..., sparse_grad=true) and embeddings have gradients that are sparse.
  const bool dense = gradient.layout() == c10::kStrided;
  const at::Tensor there = dense ? gradient.detach() : gradient.detach().to_dense();
  // The weights of cross-entropy multiply -logprob.
  at::Tensor weights = there.to(at::kCPU, at::kFloat).neg().contiguous();
  float* values = weights.mutable_data_ptr<float>();
  for (const std::size_t place : ignored_) values[place] = 0;
  for (std::size_t i = 0; i < data_.size(); ++i) {
    Datum datum = data_[i];
    const TensorData& targets = datum.loss_fn_inputs.front().second;
    const float* first = values + offsets_[i];
    const float* bad = std::find_if_not(first, first + targets.size(),
                                        [](float value) { return std::isfinite(value); });
    if (bad != first + targets.size()) {
      return invalid_argument(
          "the gradient of the loss with respect to the log-probabilities of "
          "sequence " +
          std::to_string(rows_[i]) + " is not finite at element " + std::to_string(bad - first) +
          "; nothing was sent. Look for a division by zero, a log of zero or an "
          "exp that overflows in the loss");
    }
    datum.loss_fn_inputs.emplace_back("weights",
                                      TensorData::view(first, DType::kFloat32, targets.shape()));
    out.push_back(std::move(datum));
  }
  keep.push_back(std::move(weights));
  return ok_status();
}

}  // namespace tinkex::torch_ext::remote
