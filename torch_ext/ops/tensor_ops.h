#pragma once

#include <torch/library.h>

namespace tinkex::torch_ext {

/// Called by library.cc: ops without a client, text to token ids of the byte tokenizer and back.
void register_tensor_kernels(torch::Library& library);

}  // namespace tinkex::torch_ext
