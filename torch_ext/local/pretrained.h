#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <stop_token>

#include "tinkex/error.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/local/base_model.h"

namespace tinkex::torch_ext::local {

/// Loads a model with its tokenizer from `path`: a GGUF file, or a folder with config.json,
/// safetensors and tokenizer.json. Its name is model_name_of(path). Nothing is ever downloaded.
/// Quantised weights are widened to `dtype`. Names and shapes of all tensors are checked before
/// memory is taken for them.
///
/// Errors are kIo and name file and tensor: what is missing, of a wrong shape or unknown, a
/// tokenizer with more tokens than the model, a model that does not fit in memory. kInternal
/// if memory runs out all the same, kCancelled if `stop` was asked for, which ends the loading at
/// the next tensor.
Result<std::shared_ptr<const BaseModel>> load_pretrained(
    const std::filesystem::path& path, at::ScalarType dtype = at::ScalarType::Float,
    const std::stop_token& stop = {});

/// The tokenizer at `path` alone: of a folder or a GGUF file, whatever its model is and whether or
/// not its weights are there, or of a tokenizer.json. What ends a text comes from
/// generation_config.json, config.json or tokenizer_config.json, the first that tells; beside a
/// tokenizer.json that was named only the last is looked for. Errors as above.
Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const std::filesystem::path& path);

}  // namespace tinkex::torch_ext::local
