#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tinkex/error.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/gguf.h"

namespace tinkex::torch_ext::local {

/// config.json of a model of that shape, as Hugging Face's transformers reads it. A ModelConfig
/// that it cannot express, such as other divisors of the rotary frequencies than a linear factor or
/// Llama 3.1's, is an error, of code kInvalidArgument.
Result<nlohmann::json> config_json(const ModelConfig& config);

/// Writes the tokenizer of a GGUF file to `folder`: tokenizer.json, and tokenizer_config.json with
/// the ends of a text and the chat template. Errors are kIo.
Status write_tokenizer(const GgufFile& file, const std::filesystem::path& folder);

/// Copies what a model's folder has of its tokenizer and its generation_config.json. Errors are
/// kIo.
Status copy_tokenizer(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace tinkex::torch_ext::local
