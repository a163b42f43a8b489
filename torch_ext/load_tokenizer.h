#pragma once

#include <filesystem>
#include <memory>

#include "tinkex/error.h"
#include "tinkex/tokenizer.h"

namespace tinkex::torch_ext {

/// The tokenizer of a model on this machine, byte-level BPE: a tokenizer.json, a folder as Hugging
/// Face's transformers writes it, or a GGUF file. The model may be of any family and needs no
/// weights. A folder or a GGUF file tells what ends a text, and so does a tokenizer_config.json
/// beside the tokenizer.json; one alone does not (`eos_token()` is -1). Nothing is downloaded.
///
/// Its chat_template() is that of the GGUF file, or of the file chat_template.jinja beside the
/// tokenizer.json, else of tokenizer_config.json there.
///
/// Errors: kInternal if memory runs out; kIo, which name the file and what is missing, wrong or not
/// supported in it.
Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const std::filesystem::path& path);

}  // namespace tinkex::torch_ext
