#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>

#include "tinkex/error.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/local/base_model.h"

namespace tinkex::torch_ext::local {

/// Loads a model with its tokenizer from `path`: a GGUF file, or a folder with config.json,
/// safetensors and tokenizer.json. Its name is that of the folder, or of the file without `.gguf`.
/// Nothing is ever downloaded. Quantised weights are widened to `dtype`.
///
/// Errors are kIo and name file and tensor: what is missing, of a wrong shape or unknown, a
/// tokenizer with more tokens than the model, a model that does not fit in memory.
Result<std::shared_ptr<const BaseModel>> load_pretrained(
    const std::filesystem::path& path, at::ScalarType dtype = at::ScalarType::Float);

/// The tokenizer of such a model alone, or of a tokenizer.json. Errors as above.
Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const std::filesystem::path& path);

}  // namespace tinkex::torch_ext::local
