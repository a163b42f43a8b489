#include "torch_ext/remote/sequences.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "torch_ext/tensor_convert.h"

namespace tinkex::torch_ext::remote {
namespace {

std::string shape_text(const at::Tensor& tensor) {
  std::string text = "(";
  for (std::int64_t i = 0; i < tensor.dim(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(tensor.size(i));
  }
  return text + ")";
}

/// The tensor as contiguous int64 on the CPU; itself if it is.
Result<at::Tensor> integers(const at::Tensor& tensor, TensorName name) {
  const Result<TensorData> data = borrow(tensor, name);  // says what cannot be read at all
  if (!data) return data.error();
  if (is_floating_point(data->dtype()) || data->dtype() == DType::kBool || data->is_sparse()) {
    return invalid_argument(name.text() + " has dtype " + std::string(to_string(data->dtype())) +
                            ", expected dense integer token ids; convert it with "
                            ".to(torch::kInt64)");
  }
  return tensor.detach().to(at::kCPU, at::kLong).contiguous();
}

Error wrong_shape(TensorName name, const at::Tensor& tensor, std::string_view expected) {
  return invalid_argument(name.text() + " has shape " + shape_text(tensor) + ", expected " +
                          std::string(expected));
}

std::vector<std::int64_t> values_of(const at::Tensor& tensor) {
  const auto* data = tensor.const_data_ptr<std::int64_t>();
  return {data, data + tensor.numel()};
}

/// Targets that are neither tokens nor kIgnoreIndex. `targets` is what integers() gave.
Status check_targets(const at::Tensor& targets, TensorName name) {
  const auto* first = targets.const_data_ptr<std::int64_t>();
  const auto* end = first + targets.numel();
  const auto* bad =
      std::find_if(first, end, [](std::int64_t id) { return id < 0 && id != kIgnoreIndex; });
  if (bad == end) return ok_status();
  return invalid_argument(name.text() + " has " + std::to_string(*bad) + " at element " +
                          std::to_string(bad - first) + ", expected token ids, or " +
                          std::to_string(kIgnoreIndex) + " where a position does not count");
}

bool begins_with(const at::Tensor& tensor, const at::Tensor& prefix) {
  return tensor.dim() >= prefix.dim() && tensor.dim() <= prefix.dim() + 1 &&
         tensor.sizes().slice(0, static_cast<std::size_t>(prefix.dim())) == prefix.sizes();
}

}  // namespace

void Sequences::add(const at::Tensor& tokens, const at::Tensor& targets, std::int64_t offset,
                    std::size_t row) {
  std::vector<std::int64_t> ids = values_of(targets);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] != kIgnoreIndex) continue;
    ids[i] = 0;  // the API wants a token everywhere
    ignored_.push_back(offset + static_cast<std::int64_t>(i));
  }
  Datum datum;
  datum.model_input = ModelInput::from_tokens(values_of(tokens));
  datum.loss_fn_inputs.emplace_back("target_tokens",
                                    TensorData::from(std::move(ids), targets.sizes().vec()));
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
  Sequences all;
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Result<at::Tensor> ids = integers(tokens[i], {"tokens", i});
    if (!ids) return ids.error();
    const Result<at::Tensor> wanted = integers(targets[i], {"targets", i});
    if (!wanted) return wanted.error();
    if (ids->dim() != 1 || ids->numel() == 0) {
      return wrong_shape({"tokens", i}, *ids, "one dimension and at least one token id");
    }
    if (Status valid = check_targets(*wanted, {"targets", i}); !valid) return valid.error();
    if (!begins_with(*wanted, *ids)) {
      const std::string length = std::to_string(ids->size(0));
      return wrong_shape({"targets", i}, *wanted,
                         "(" + length + ") or (" + length + ", K), a target after each token");
    }
    all.add(*ids, *wanted, offset, i);
    offset += wanted->numel();
  }
  all.result_shape_ = {offset};
  return all;
}

Result<Sequences> Sequences::from_padded(const at::Tensor& tokens, const at::Tensor& targets) {
  const Result<at::Tensor> ids = integers(tokens, "tokens");
  if (!ids) return ids.error();
  const Result<at::Tensor> wanted = integers(targets, "targets");
  if (!wanted) return wanted.error();
  if (Status valid = check_targets(*wanted, "targets"); !valid) return valid.error();
  if (ids->dim() == 1) {
    return wrong_shape("tokens", *ids,
                       "(batch, length); of a single sequence take unsqueeze(0) of tokens and "
                       "targets, or give lists of sequences");
  }
  if (ids->dim() != 2 || ids->numel() == 0) {
    return wrong_shape("tokens", *ids, "(batch, length), neither of them 0");
  }
  if (!begins_with(*wanted, *ids) || wanted->numel() == 0) {
    return wrong_shape(
        "targets", *wanted,
        "the shape of tokens, " + shape_text(*ids) + ", or K targets for each of its positions");
  }
  Sequences all;
  const std::int64_t row_size = wanted->numel() / ids->size(0);
  const std::int64_t position_size = row_size / ids->size(1);
  for (std::int64_t row = 0; row < ids->size(0); ++row) {
    const auto* first = wanted->const_data_ptr<std::int64_t>() + row * row_size;
    const auto* end = first + row_size;
    while (end != first && end[-1] == kIgnoreIndex) --end;
    const std::int64_t length = (end - first + position_size - 1) / position_size;
    if (length == 0) continue;
    all.add(ids->select(0, row).narrow(0, 0, length), wanted->select(0, row).narrow(0, 0, length),
            row * row_size, static_cast<std::size_t>(row));
  }
  if (all.data_.empty()) {
    return invalid_argument("targets holds nothing but " + std::to_string(kIgnoreIndex) +
                            ", expected a target that counts");
  }
  all.result_shape_ = wanted->sizes().vec();
  return all;
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
  for (const std::int64_t place : ignored_) out[place] = 0;
  return all;
}

Status Sequences::append_weighted(const at::Tensor& gradient, std::vector<Datum>& out,
                                  std::vector<at::Tensor>& keep) const {
  // The weights of cross-entropy multiply -logprob.
  at::Tensor weights = gradient.detach().to(at::kCPU, at::kFloat).neg().contiguous();
  float* values = weights.mutable_data_ptr<float>();
  for (const std::int64_t place : ignored_) values[place] = 0;
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
