#pragma once

#include <filesystem>

#include "tinkex/error.h"
#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// The shape of the model in a folder as Hugging Face's transformers writes it: config.json, and
/// the ends of a text from generation_config.json where there is one. Families llama, qwen2 and
/// qwen3.
///
/// Whatever a file asks for that the engine does not compute is refused, never ignored: another
/// activation, a sliding window, an unknown rotary scaling, quantised weights. Errors are kIo and
/// name the file and the field.
Result<ModelConfig> folder_config(const std::filesystem::path& folder);

}  // namespace tinkex::torch_ext::local
