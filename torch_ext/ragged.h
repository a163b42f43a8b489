#pragma once

// Sequences of different lengths that lie one after another: sequence i is
// values[offsets[i]:offsets[i + 1]].
//
// Results. The arrays of one name are copied once, into one new CPU tensor, here and by
// `outputs_to_tensors`. The tensors of a list are slices of it: holding one keeps them all, and
// torch.save writes them all; clone() makes one independent. Slices do not overlap, so each may be
// changed in place.

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/error.h"

namespace tinkex::torch_ext {

/// Several arrays in one.
struct Ragged {
  at::Tensor values;   ///< [rows of all arrays, ...].
  at::Tensor offsets;  ///< int64, [arrays + 1], on the CPU; the first is 0.
};
using NamedRagged = std::vector<std::pair<std::string, Ragged>>;

/// Tensors under a name.
using NamedTensorList = std::vector<std::pair<std::string, at::Tensor>>;

/// The per-datum outputs of forward and forward_backward; a number without dimensions is one row.
/// Errors: as outputs_to_tensors, and kDecode when the arrays of a name differ in dtype or in more
/// than their first dimension, or are sparse.
Result<NamedRagged> outputs_to_ragged(const std::vector<NamedTensors>& outputs);

/// `lengths` summed up: 0, l0, l0 + l1, ...; a new int64 tensor with one element more.
at::Tensor offsets_of_lengths(const std::vector<std::int64_t>& lengths);

/// The elements of a 1-D integer tensor that begins with 0, never decreases, and ends with `rows`,
/// the number of rows of `whole`. Errors: kInvalidArgument, beginning with `offsets`.
Result<std::vector<std::int64_t>> read_offsets(const at::Tensor& offsets, std::int64_t rows,
                                               std::string_view whole);

/// The datums refer to the caller's tensors, as those of borrow_datums, or to copies in `arrays`.
struct RaggedBatch {
  std::vector<TensorData> arrays;
  std::vector<Datum> datums;
};

/// One Datum per sequence: sequence i is rows offsets[i] to offsets[i + 1] of `tokens`, which is
/// 1-D, and of every tensor in `loss_fn_inputs`, which has one row per token ([tokens] or
/// [tokens, K]). Nothing is copied where `borrow` copies nothing; the tensors must stay alive and
/// unchanged until the call that takes the Datums has returned.
///
/// Errors: kInvalidArgument for wrong offsets, an input with another number of rows, and as
/// borrow_datums.
Result<RaggedBatch> borrow_ragged_datums(const at::Tensor& tokens, const at::Tensor& offsets,
                                         const NamedTensorList& loss_fn_inputs);

/// Prompts, called `name[0]`, `name[1]`, ... in errors; see borrow_prompt. At least one.
Result<std::vector<ModelInput>> borrow_prompts(const std::vector<at::Tensor>& tokens,
                                               std::string_view name);

}  // namespace tinkex::torch_ext
