#pragma once

#include <string>

#include "tinkex/error.h"
#include "tinkex/tokenizers/bpe_tokenizer.h"

namespace tinkex::tokenizers {

/// The text of a tokenizer.json that encodes and decodes as BpeTokenizer::from_gguf(vocabulary)
/// does, here and by Hugging Face's library. Errors, of code kIo, are those of from_gguf(), and a
/// token or merge that is not UTF-8, which JSON cannot hold.
Result<std::string> write_tokenizer_json(GgufVocabulary vocabulary);

}  // namespace tinkex::tokenizers
