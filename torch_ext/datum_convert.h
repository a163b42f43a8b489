#pragma once

// Batches of tensors <-> batches of Datums.

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "tinkex/outputs.h"
#include "torch_ext/tensor_convert.h"

namespace tinkex::torch_ext {

/// A target of this value does not count: its log-probability is 0 and has no gradient. The number
/// is that of torch::nn::CrossEntropyLoss.
inline constexpr std::int64_t kIgnoreIndex = -100;

/// Lists under a name, one tensor per datum, in order.
using NamedTensorLists = std::vector<std::pair<std::string, std::vector<at::Tensor>>>;

/// What errors call a loss input.
std::string loss_input(std::string_view name);

/// Refuses an input of a server's loss that requires a gradient while gradients are on: none comes
/// back over the wire, so the loss would cut the caller's graph in silence. Errors:
/// kInvalidArgument naming the tensor.
Status check_no_gradient(const at::Tensor& tensor, TensorName name);
/// The same of all loss inputs.
Status check_no_gradient(const NamedTensorLists& loss_fn_inputs);

/// How many token ids a tensor of any shape holds; 0 for what `copy_token_ids` refuses.
std::size_t count_token_ids(const at::Tensor& tensor);
/// Puts them into memory with room for all of them, row by row, as int64: one copy, whatever their
/// type and strides. Errors: kInvalidArgument, beginning with `name`, for what is no dense tensor
/// of integers, which bool are not, and whatever `borrow` refuses.
Status copy_token_ids(const at::Tensor& tensor, TensorName name, std::int64_t* out);

/// A prompt: `tokens` must be a non-empty 1-D integer tensor. Borrows the tensor's memory, as
/// `borrow` does. `name` begins the error.
Result<ModelInput> borrow_prompt(const at::Tensor& tokens, TensorName name);
Result<ModelInput> borrow_prompt(at::Tensor&& tokens, TensorName name) = delete;  // would dangle

/// One Datum per sequence: `tokens[i]` is what the model reads, `loss_fn_inputs[name][i]` what the
/// loss needs beside it. Borrows the tensors' memory: they must stay alive and unchanged until the
/// call that takes the Datums has returned.
///
/// Errors: kInvalidArgument naming argument and index, for an empty batch, a list of another length
/// than `tokens`, a prompt that is not a 1-D integer tensor, and whatever `borrow` refuses.
Result<std::vector<Datum>> borrow_datums(const std::vector<at::Tensor>& tokens,
                                         const NamedTensorLists& loss_fn_inputs);
/// The same of temporaries, such as a list in braces: the Datums keep the memory of their tensors
/// alive, at the cost of an object for each.
Result<std::vector<Datum>> borrow_datums(const std::vector<at::Tensor>& tokens,
                                         NamedTensorLists&& loss_fn_inputs);
Result<std::vector<Datum>> borrow_datums(std::vector<at::Tensor>&& tokens,
                                         const NamedTensorLists& loss_fn_inputs);
Result<std::vector<Datum>> borrow_datums(std::vector<at::Tensor>&& tokens,
                                         NamedTensorLists&& loss_fn_inputs);

/// The per-datum outputs as lists under their names, one new tensor per datum.
/// Errors: kDecode when a datum lacks an output that the first one has, or has another one.
Result<NamedTensorLists> outputs_to_tensors(const std::vector<NamedTensors>& outputs);

}  // namespace tinkex::torch_ext
