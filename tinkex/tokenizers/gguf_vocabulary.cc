#include <array>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "tinkex/tokenizers/tokenizer_document.h"

namespace tinkex::tokenizers {
namespace {

/// Of `tokenizer.ggml.token_type`.
enum TokenType : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
};

Error gguf_error(const std::string& what) {
  return {ErrorCode::kIo, "the tokenizer of a GGUF file: " + what};
}

/// These families take a word that is a token as it is, and begin every text with a token.
bool is_llama3(std::string_view pre) {
  return pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3";
}

/// The files do not tell; the models' own tokenizer.json do.
bool is_nfc(std::string_view pre) { return pre == "qwen2"; }

Status take_tokens(GgufVocabulary& from, BpeTokenizer::Parts& parts) {
  if (from.tokens.size() != from.token_types.size()) {
    return gguf_error("there are " + std::to_string(from.tokens.size()) + " tokens and " +
                      std::to_string(from.token_types.size()) + " types");
  }
  for (std::size_t i = 0; i < from.tokens.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const std::int32_t type = from.token_types[i];
    if (type < kNormal || type > kUnused) {
      return gguf_error("token " + std::to_string(i) + " has the type " + std::to_string(type) +
                        ", which byte-level BPE does not have");
    }
    if (type != kNormal && type != kUnused) {
      AddedToken added;
      added.content = from.tokens[i];
      added.id = id;
      added.special = type != kUserDefined;
      parts.added.push_back(std::move(added));
    }
    parts.entries.push_back({std::move(from.tokens[i]), id, true});
  }
  return ok_status();
}

Status take_merges(const GgufVocabulary& from, BpeTokenizer::Parts& parts) {
  for (std::size_t i = 0; i < from.merges.size(); ++i) {
    auto merge = split_merge(from.merges[i]);
    if (!merge) {
      return gguf_error("merge " + std::to_string(i) + ", " + internal::quoted(from.merges[i]) +
                        ", is not two tokens with a space between them");
    }
    parts.rules.merges.push_back(*std::move(merge));
  }
  return ok_status();
}

/// Appends the special token to the list, if it is to be added.
Status take_special(const std::string& name, bool add, std::optional<std::int64_t> id,
                    std::size_t tokens, std::vector<TokenId>& out) {
  if (id && (*id < 0 || static_cast<std::uint64_t>(*id) >= tokens)) {
    return gguf_error(name + "_token_id " + std::to_string(*id) + " is not in the vocabulary");
  }
  if (!add) return ok_status();
  if (!id) return gguf_error(name + "_token_id is missing");
  out.push_back(static_cast<TokenId>(*id));
  return ok_status();
}

}  // namespace

Result<BpeTokenizer::Parts> BpeTokenizer::parts_of(GgufVocabulary vocabulary) {
  if (vocabulary.model != "gpt2") {
    return gguf_error("the model " + internal::quoted(vocabulary.model) +
                      " is not supported; only gpt2, byte-level BPE, is");
  }
  Parts parts;
  Result<PreTokenizer> pre_tokenizer = PreTokenizer::named(vocabulary.pre);
  if (!pre_tokenizer) return gguf_error(pre_tokenizer.error().message());
  parts.pre_tokenizer = *std::move(pre_tokenizer);
  parts.nfc = is_nfc(vocabulary.pre);
  parts.rules.ignore_merges = is_llama3(vocabulary.pre);
  const bool add_bos = vocabulary.add_bos.value_or(is_llama3(vocabulary.pre));
  Status status = take_tokens(vocabulary, parts);
  if (status) status = take_merges(vocabulary, parts);
  const std::size_t count = parts.entries.size();
  if (status) status = take_special("bos", add_bos, vocabulary.bos_token, count, parts.prefix);
  const bool add_eos = vocabulary.add_eos.value_or(false);
  if (status) status = take_special("eos", add_eos, vocabulary.eos_token, count, parts.suffix);
  if (!status) return status.error();
  if (vocabulary.eos_token) parts.eos = static_cast<TokenId>(*vocabulary.eos_token);
  return parts;
}

Result<BpeTokenizer> BpeTokenizer::from_gguf(GgufVocabulary vocabulary) {
  Result<Parts> parts = parts_of(std::move(vocabulary));
  if (!parts) return parts.error();
  return create(*std::move(parts));
}

}  // namespace tinkex::tokenizers
