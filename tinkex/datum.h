#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tinkex/model_input.h"
#include "tinkex/tensor_data.h"

namespace tinkex {

/// Named arrays in the order in which they were added. A handful of entries: a linear search
/// beats a tree, and the wire order is the caller's.
using NamedTensors = std::vector<std::pair<std::string, TensorData>>;

/// The tensor of that name, or null.
const TensorData* find(const NamedTensors& tensors, std::string_view name) noexcept;

/// One training example: what the model reads, and what the loss needs beside it.
///
/// Inputs arrive already shifted: position i of `model_input` predicts `target_tokens[i]`. For a
/// sequence s of length L the input is s[0..L-2] and `target_tokens` is s[1..L-1].
struct Datum {
  ModelInput model_input;
  NamedTensors loss_fn_inputs;
};

}  // namespace tinkex
