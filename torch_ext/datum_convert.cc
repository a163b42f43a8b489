#include "torch_ext/datum_convert.h"

#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>

#include <string>

#include "tinkex/base/prefetch.h"

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

/// That they are dense integers; the rest is for `borrow` to say.
Status check_type_of_ids(const at::Tensor& tensor, TensorName name) {
  if (!tensor.defined() || tensor.is_nested()) return ok_status();
  if (tensor.layout() != c10::kStrided) {
    return invalid_argument(
        name.text() + " has a sparse layout, expected dense integer token ids; use to_dense()");
  }
  if (c10::isIntegralType(tensor.scalar_type(), /*includeBool=*/false)) return ok_status();
  return invalid_argument(name.text() + " has dtype " + dtype_name(tensor.scalar_type()) +
                          ", expected dense integer token ids; convert it with .to(torch.int64)");
}

Status check_token_ids(const at::Tensor& tensor, TensorName name) {
  if (Status checked = check_type_of_ids(tensor, name); !checked) return checked;
  return check_has_data(tensor, name);
}

/// Whether `borrow` would put the elements in order before they are converted, which LibTorch does
/// in one.
bool is_ordered_by_copy(const at::Tensor& tensor) {
  return tensor.is_cpu() && !tensor.is_contiguous() && to_dtype(tensor.scalar_type());
}

enum class Memory { kBorrowed, kKept };

Result<TensorData> read(const at::Tensor& tensor, TensorName name, Memory memory) {
  return memory == Memory::kKept ? share(tensor, name) : borrow(tensor, name);
}

Result<TensorData> read_token_ids(const at::Tensor& tensor, TensorName name, Memory memory) {
  if (Status checked = check_type_of_ids(tensor, name); !checked) return std::move(checked).error();
  return read(tensor, name, memory);
}

Result<ModelInput> read_prompt(const at::Tensor& tokens, TensorName name, Memory memory) {
  Result<TensorData> data = read_token_ids(tokens, name, memory);
  if (!data) return std::move(data).error();
  if (data->shape().size() != 1 || data->size() == 0) {
    return invalid_argument(name.text() + " has " + std::to_string(data->shape().size()) +
                            " dimensions and " + std::to_string(data->size()) +
                            " elements, expected one dimension and at least one token id");
  }
  return ModelInput::from_tokens(std::move(*data));
}

/// Asks for what is read of the tensors after `now`. Their objects lie apart in memory, and a
/// storage is found through its tensor alone: else each costs two waits, one after the other.
void prefetch_after(std::size_t now, const std::vector<at::Tensor>& tensors) noexcept {
  // A storage is asked for when its tensor is there. Of distances up to 16 these were the fastest
  // on a Zen 4.
  constexpr std::size_t kStorage = 2;
  constexpr std::size_t kObject = 2 * kStorage;
  if (now + kObject < tensors.size()) {
    internal::prefetch_object(tensors[now + kObject].unsafeGetTensorImpl());
  }
  if (now + kStorage < tensors.size()) {
    const c10::TensorImpl* const object = tensors[now + kStorage].unsafeGetTensorImpl();
    internal::prefetch_object(object->unsafe_storage().unsafeGetStorageImpl());
  }
}

Result<std::vector<Datum>> read_datums(const std::vector<at::Tensor>& tokens, Memory of_tokens,
                                       const NamedTensorLists& loss_fn_inputs, Memory of_inputs) {
  if (Status counts = check_counts(tokens.size(), loss_fn_inputs); !counts) return counts.error();
  std::vector<std::string> labels;
  for (const auto& input : loss_fn_inputs) labels.push_back(loss_input(input.first));
  std::vector<Datum> datums(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    prefetch_after(i, tokens);
    for (const auto& input : loss_fn_inputs) prefetch_after(i, input.second);
    Result<ModelInput> prompt = read_prompt(tokens[i], {"tokens", i}, of_tokens);
    if (!prompt) return std::move(prompt).error();
    datums[i].model_input = std::move(*prompt);
    datums[i].loss_fn_inputs.reserve(loss_fn_inputs.size());
    for (std::size_t input = 0; input < labels.size(); ++input) {
      const auto& [name, list] = loss_fn_inputs[input];
      Result<TensorData> data = read(list[i], {labels[input], i}, of_inputs);
      if (!data) return std::move(data).error();
      datums[i].loss_fn_inputs.emplace_back(name, std::move(*data));
    }
  }
  return datums;
}

}  // namespace

std::string loss_input(std::string_view name) {
  return "loss_fn_inputs['" + std::string(name) + "']";
}

Status check_no_gradient(const at::Tensor& tensor, TensorName name) {
  if (!tensor.defined() || !tensor.requires_grad() || !at::GradMode::is_enabled()) {
    return ok_status();
  }
  return invalid_argument(name.text() +
                          " requires a gradient, but none flows through the inputs of this call; "
                          "pass .detach(), or call it inside torch.no_grad()");
}

Status check_no_gradient(const NamedTensorLists& loss_fn_inputs) {
  for (const auto& [name, list] : loss_fn_inputs) {
    const std::string label = loss_input(name);
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (Status checked = check_no_gradient(list[i], {label, i}); !checked) return checked;
    }
  }
  return ok_status();
}

std::size_t count_token_ids(const at::Tensor& tensor) {
  return check_token_ids(tensor, "").ok() ? static_cast<std::size_t>(tensor.numel()) : 0;
}

Status copy_token_ids(const at::Tensor& tensor, TensorName name, std::int64_t* out) {
  if (Status checked = check_token_ids(tensor, name); !checked) return checked;
  if (is_ordered_by_copy(tensor)) {
    at::from_blob(out, tensor.sizes(), at::kLong).copy_(tensor.detach());
    return ok_status();
  }
  const Result<TensorData> ids = borrow(tensor, name);
  if (!ids) return ids.error();
  ids->copy_to(out);
  return ok_status();
}

Result<ModelInput> borrow_prompt(const at::Tensor& tokens, TensorName name) {
  return read_prompt(tokens, name, Memory::kBorrowed);
}

Result<std::vector<Datum>> borrow_datums(const std::vector<at::Tensor>& tokens,
                                         const NamedTensorLists& loss_fn_inputs) {
  return read_datums(tokens, Memory::kBorrowed, loss_fn_inputs, Memory::kBorrowed);
}
Result<std::vector<Datum>> borrow_datums(const std::vector<at::Tensor>& tokens,
                                         NamedTensorLists&& loss_fn_inputs) {
  return read_datums(tokens, Memory::kBorrowed, loss_fn_inputs, Memory::kKept);
}
Result<std::vector<Datum>> borrow_datums(std::vector<at::Tensor>&& tokens,
                                         const NamedTensorLists& loss_fn_inputs) {
  return read_datums(tokens, Memory::kKept, loss_fn_inputs, Memory::kBorrowed);
}
Result<std::vector<Datum>> borrow_datums(std::vector<at::Tensor>&& tokens,
                                         NamedTensorLists&& loss_fn_inputs) {
  return read_datums(tokens, Memory::kKept, loss_fn_inputs, Memory::kKept);
}

}  // namespace tinkex::torch_ext
