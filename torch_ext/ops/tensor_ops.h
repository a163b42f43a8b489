#pragma once

// Ops without a client: text to token ids of the byte tokenizer and back, and sequences of
// different lengths in their three forms.
//
//   a list of tensors        what `forward_backward` and its like take and give
//   values and offsets       sequence i is values[offsets[i]:offsets[i + 1]]
//   a padded tensor          [sequences, longest, ...] with the lengths
//
// to_lists and unpad give views: nothing is copied, and gradients flow through them.

#include <torch/library.h>

namespace tinkex::torch_ext {

/// Called by library.cc: the kernels for every device, those for tensors without data, and those
/// that are made of LibTorch's own ops, through which torch.compile and autograd see.
void register_tensor_kernels(torch::Library& library);
void register_tensor_meta_kernels(torch::Library& library);
void register_composite_kernels(torch::Library& library);

}  // namespace tinkex::torch_ext
