#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/local/gguf.h"

namespace tinkex::torch_ext::local {

/// What a tokenizer has to fit.
struct TokenizerFrame {
  /// What ends a text, the usual token first. Empty: what the tokenizer's own files tell.
  std::vector<std::int64_t> ends;
  /// Tokens that the model has, if that is known.
  std::optional<std::int64_t> vocab_size;
};

using TokenizerResult = Result<std::shared_ptr<const Tokenizer>>;

/// The tokenizer in a tokenizer.json, with the chat template beside it. Where `frame` has no ends,
/// a tokenizer_config.json beside it may tell which token ends a text. Errors are kIo and name the
/// file; one of the chat template is only told by the tokenizer's chat_template().
TokenizerResult json_tokenizer(const std::filesystem::path& file, const TokenizerFrame& frame);

/// The tokenizer in a GGUF file, with its chat template.
TokenizerResult gguf_tokenizer(const GgufFile& file, const TokenizerFrame& frame);

}  // namespace tinkex::torch_ext::local
