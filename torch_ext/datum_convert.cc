#include "torch_ext/datum_convert.h"

namespace tinkex::torch_ext {
namespace {

Status check_counts(std::size_t datums, const NamedTensorLists& loss_fn_inputs) {
  if (datums == 0) {
    return invalid_argument("tokens is empty, expected at least one sequence of token ids");
  }
  for (const auto& [name, list] : loss_fn_inputs) {
    if (list.size() == datums) continue;
    return invalid_argument(loss_input(name) + " has " + std::to_string(list.size()) +
                            " tensors but tokens has " + std::to_string(datums) +
                            "; give one tensor per sequence");
  }
  return ok_status();
}

}  // namespace

std::string loss_input(std::string_view name) {
  return "loss_fn_inputs['" + std::string(name) + "']";
}

Result<TensorData> borrow_token_ids(const at::Tensor& tensor, TensorName name) {
  Result<TensorData> data = borrow(tensor, name);
  if (!data) return data;
  if (is_floating_point(data->dtype()) || data->dtype() == DType::kBool || data->is_sparse()) {
    return invalid_argument(name.text() + " has dtype " + std::string(to_string(data->dtype())) +
                            ", expected dense integer token ids; convert it with .to(torch.int64)");
  }
  return data;
}

Result<ModelInput> borrow_prompt(const at::Tensor& tokens, TensorName name) {
  Result<TensorData> data = borrow_token_ids(tokens, name);
  if (!data) return std::move(data).error();
  if (data->shape().size() != 1 || data->size() == 0) {
    return invalid_argument(name.text() + " has " + std::to_string(data->shape().size()) +
                            " dimensions and " + std::to_string(data->size()) +
                            " elements, expected one dimension and at least one token id");
  }
  return ModelInput::from_tokens(std::move(*data));
}

Result<std::vector<Datum>> borrow_datums(const std::vector<at::Tensor>& tokens,
                                         const NamedTensorLists& loss_fn_inputs) {
  if (Status counts = check_counts(tokens.size(), loss_fn_inputs); !counts) return counts.error();
  std::vector<Datum> datums(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    Result<ModelInput> prompt = borrow_prompt(tokens[i], {"tokens", i});
    if (!prompt) return std::move(prompt).error();
    datums[i].model_input = std::move(*prompt);
    datums[i].loss_fn_inputs.reserve(loss_fn_inputs.size());
  }
  for (const auto& [name, list] : loss_fn_inputs) {
    const std::string label = loss_input(name);
    for (std::size_t i = 0; i < list.size(); ++i) {
      Result<TensorData> data = borrow(list[i], {label, i});
      if (!data) return std::move(data).error();
      datums[i].loss_fn_inputs.emplace_back(name, std::move(*data));
    }
  }
  return datums;
}

}  // namespace tinkex::torch_ext
