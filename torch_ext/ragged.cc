#include "torch_ext/ragged.h"

#include <c10/util/DimVector.h>

#include <cstdint>
#include <span>
#include <variant>

#include "torch_ext/datum_convert.h"
#include "torch_ext/tensor_convert.h"

namespace tinkex::torch_ext {
namespace {

/// Rows `begin` to `end` of a dense array, which must outlive the result.
TensorData rows_of(const TensorData& whole, std::int64_t begin, std::int64_t end) {
  c10::DimVector shape(whole.shape().begin(), whole.shape().end());
  const std::size_t row =
      shape[0] == 0 ? 0 : whole.size_bytes() / static_cast<std::size_t>(shape[0]);
  shape[0] = end - begin;
  return TensorData::view(whole.data() + static_cast<std::size_t>(begin) * row, whole.dtype(),
                          shape);
}

/// One row per token.
Result<TensorData> read_rows(const at::Tensor& tensor, const std::string& name,
                             std::size_t tokens) {
  Result<TensorData> data = borrow(tensor, TensorName(std::string_view(name)));
  if (!data) return data;
  if (data->is_sparse() || data->shape().empty()) {
    return invalid_argument(name + (data->is_sparse() ? " is sparse" : " has no dimensions") +
                            ", expected one dense row per token; pass lists of tensors instead");
  }
  if (static_cast<std::size_t>(data->shape()[0]) != tokens) {
    return invalid_argument(name + " has " + std::to_string(data->shape()[0]) +
                            " rows but tokens has " + std::to_string(tokens) +
                            "; give one row per token");
  }
  return data;
}

/// Where the sequences of a batch begin and end; none is empty.
Result<std::vector<std::int64_t>> sequence_bounds(const at::Tensor& offsets, std::size_t tokens) {
  auto bounds = read_offsets(offsets, static_cast<std::int64_t>(tokens), "tokens");
  if (!bounds) return bounds;
  for (std::size_t i = 1; i < bounds->size(); ++i) {
    if ((*bounds)[i] > (*bounds)[i - 1]) continue;
    return invalid_argument("offsets[" + std::to_string(i) + "] is " +
                            std::to_string((*bounds)[i]) +
                            " like the one before, expected every sequence to have a token");
  }
  return bounds;
}

/// Makes the datums of a batch out of its arrays: the tokens, then the inputs.
void cut(RaggedBatch& batch, std::span<const std::int64_t> bounds, const NamedTensorList& inputs) {
  batch.datums.resize(bounds.size() - 1);
  for (std::size_t i = 0; i < batch.datums.size(); ++i) {
    Datum& datum = batch.datums[i];
    const auto rows = [&](std::size_t array) {
      return rows_of(batch.arrays[array], bounds[i], bounds[i + 1]);
    };
    datum.model_input = ModelInput::from_tokens(rows(0));
    datum.loss_fn_inputs.reserve(inputs.size());
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      datum.loss_fn_inputs.emplace_back(inputs[k].first, rows(k + 1));
    }
  }
}

}  // namespace

Result<RaggedBatch> borrow_ragged_datums(const at::Tensor& tokens, const at::Tensor& offsets,
                                         const NamedTensorList& loss_fn_inputs) {
  const Result<ModelInput> ids = borrow_prompt(tokens, "tokens");
  if (!ids) return ids.error();
  RaggedBatch batch;
  batch.arrays.push_back(std::get<EncodedTextChunk>(ids->chunks.front()).tokens);
  for (const auto& [name, tensor] : loss_fn_inputs) {
    auto rows = read_rows(tensor, loss_input(name), batch.arrays[0].size());
    if (!rows) return std::move(rows).error();
    batch.arrays.push_back(*std::move(rows));
  }
  const auto bounds = sequence_bounds(offsets, batch.arrays[0].size());
  if (!bounds) return bounds.error();
  cut(batch, *bounds, loss_fn_inputs);
  return batch;
}

Result<std::vector<std::int64_t>> read_offsets(const at::Tensor& offsets, std::int64_t rows,
                                               std::string_view whole) {
  const Result<TensorData> data = borrow(offsets, "offsets");
  if (!data) return data.error();
  if (is_floating_point(data->dtype()) || data->dtype() == DType::kBool || data->is_sparse() ||
      data->shape().size() != 1 || data->size() == 0) {
    return invalid_argument("offsets has dtype " + std::string(to_string(data->dtype())) + ", " +
                            std::to_string(data->shape().size()) + " dimensions and " +
                            std::to_string(data->size()) +
                            " elements, expected one dimension of integers, one more than there "
                            "are sequences");
  }
  std::vector<std::int64_t> bounds = data->to_ints();
  for (std::size_t i = 1; i < bounds.size(); ++i) {
    if (bounds[i] >= bounds[i - 1]) continue;
    return invalid_argument("offsets[" + std::to_string(i) + "] is " + std::to_string(bounds[i]) +
                            ", expected at least " + std::to_string(bounds[i - 1]) +
                            ", the one before");
  }
  if (bounds.front() != 0 || bounds.back() != rows) {
    return invalid_argument("offsets begins with " + std::to_string(bounds.front()) +
                            " and ends with " + std::to_string(bounds.back()) +
                            ", expected 0 and " + std::to_string(rows) +
                            ", the number of rows of " + std::string(whole));
  }
  return bounds;
}

Result<std::vector<ModelInput>> borrow_prompts(const std::vector<at::Tensor>& tokens,
                                               std::string_view name) {
  if (tokens.empty()) {
    return invalid_argument(std::string(name) + " is empty, expected at least one prompt");
  }
  std::vector<ModelInput> prompts;
  prompts.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    Result<ModelInput> prompt = borrow_prompt(tokens[i], {name, i});
    if (!prompt) return std::move(prompt).error();
    prompts.push_back(*std::move(prompt));
  }
  return prompts;
}

}  // namespace tinkex::torch_ext
