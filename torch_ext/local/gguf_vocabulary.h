#pragma once

#include <cstdint>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "torch_ext/local/gguf.h"

namespace tinkex::torch_ext::local {

/// What a GGUF file tells of its tokenizer, whatever its model is and even if it has no weights.
/// Another tokenizer than byte-level BPE, such as SentencePiece, is refused by name. Errors are kIo
/// and name the file and the key.
Result<tokenizers::GgufVocabulary> gguf_vocabulary(const GgufFile& file);

/// The tokens that end a text, the usual one first; none if the file does not tell.
Result<std::vector<std::int64_t>> gguf_ends(const GgufFile& file);

}  // namespace tinkex::torch_ext::local
