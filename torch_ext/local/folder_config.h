#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

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

/// What a folder tells of its tokens, whatever the family of its model.
struct FolderTokens {
  /// What ends a text, the usual token first: from generation_config.json, else config.json.
  std::vector<std::int64_t> ends;
  std::optional<std::int64_t> vocab_size;
};

/// Asks no more of a folder than that: it may lack either file. Errors as above.
Result<FolderTokens> folder_tokens(const std::filesystem::path& folder);

}  // namespace tinkex::torch_ext::local
