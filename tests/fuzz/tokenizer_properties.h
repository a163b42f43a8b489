#pragma once

#include <string_view>

#include "tinkex/tokenizers/bpe_tokenizer.h"

namespace tinkex::fuzz {

/// Every id has a token, and the streaming decoder gives the whole that the other one gives; an
/// error is a presentable kInvalidArgument.
void check_encoding(const tokenizers::BpeTokenizer& tokenizer, std::string_view text,
                    tokenizers::EncodeOptions options);

}  // namespace tinkex::fuzz
