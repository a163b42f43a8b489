#pragma once

#include <filesystem>
#include <memory>

#include "tinkex/error.h"
#include "tinkex/tokenizer.h"

namespace tinkex::torch_ext {

/// The tokenizer of a model on this machine, byte-level BPE: a tokenizer.json, a folder as Hugging
/// Face's transformers writes it, or a GGUF file. A folder or a GGUF file tells what ends a text; a
/// tokenizer.json alone does not (`eos_token()` is -1). Nothing is downloaded.
///
/// Errors: kIo, which name the file and what is missing, wrong or not supported in it.
Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const std::filesystem::path& path);

}  // namespace tinkex::torch_ext
