#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/tokenizer.h"
#include "tinkex/tokenizers/added_tokens.h"
#include "tinkex/tokenizers/bpe_model.h"
#include "tinkex/tokenizers/pre_tokenizer.h"
#include "tinkex/tokenizers/token_table.h"

namespace tinkex::tokenizers {

/// What a GGUF file tells of its tokenizer, under `tokenizer.ggml.` and these names.
struct GgufVocabulary {
  std::string model = "gpt2";             ///< `model`: only "gpt2", byte-level BPE, is supported.
  std::string pre;                        ///< `pre`: see PreTokenizer::named.
  std::vector<std::string> tokens;        ///< `tokens`: the index is the id.
  std::vector<std::string> merges;        ///< `merges`: "left right".
  std::vector<std::int32_t> token_types;  ///< `token_type`: one for each token.
  std::optional<bool> add_bos;            ///< `add_bos_token`
  std::optional<bool> add_eos;            ///< `add_eos_token`
  std::optional<std::int64_t> bos_token;  ///< `bos_token_id`
  std::optional<std::int64_t> eos_token;  ///< `eos_token_id`
};

struct EncodeOptions {
  /// Whether to put the tokens before and after the text that the file's template asks for, such as
  /// a beginning-of-text token.
  bool add_special_tokens = true;
  /// Whether a special token that is written out in the text becomes that token. If not, it is text
  /// like any other: right for text from strangers. Added tokens that are not special always count.
  bool recognize_special_tokens = true;
};

/// Byte-level byte pair encoding, as models of the Llama 3, SmolLM2, Qwen2, Qwen3 and GPT-2
/// families use it. Gives the ids that Hugging Face's `tokenizers` gives for the same
/// tokenizer.json; what would be encoded otherwise is refused when it is loaded. Immutable and
/// thread-safe.
class BpeTokenizer final : public Tokenizer {
 public:
  /// What the two ways to make one fill in.
  struct Parts {
    std::vector<TokenEntry> entries;
    std::vector<AddedToken> added;  ///< Each has an entry too.
    BpeRules rules;
    bool nfc = false;  ///< Whether text is brought to normal form C.
    std::optional<PreTokenizer> pre_tokenizer;
    std::vector<TokenId> prefix;  ///< Special tokens before each text.
    std::vector<TokenId> suffix;
    std::optional<TokenId> eos;
  };

  /// From the text of a tokenizer.json. Errors, of code kIo, name what is wrong or not supported.
  /// Takes about 0.3 s and, for a moment, 20 times the file's size for 150,000 tokens.
  static Result<BpeTokenizer> from_json(std::string_view json);
  /// The same from the metadata of a GGUF file. Control and user-defined tokens are recognised in
  /// the text.
  static Result<BpeTokenizer> from_gguf(GgufVocabulary vocabulary);
  /// What from_gguf() makes one of.
  static Result<Parts> parts_of(GgufVocabulary vocabulary);
  static Result<BpeTokenizer> create(Parts parts);

  /// Token ids of a text. What is not UTF-8 counts as U+FFFD, one for each maximal part of a
  /// character, as in Python's bytes.decode(errors="replace").
  /// Errors are kInvalidArgument: more than 2^30 bytes, or a pattern of the file that takes too
  /// many steps for this text.
  Result<std::vector<std::int64_t>> encode(std::string_view text, EncodeOptions options) const;
  /// Without the template's tokens. Throws the Error where there is one.
  std::vector<std::int64_t> encode(std::string_view text) const override;

  /// Bytes of the tokens, not necessarily whole UTF-8 characters. Ids without a token give nothing.
  std::string decode(std::span<const std::int64_t> tokens, bool skip_special_tokens) const;
  /// Without special tokens.
  std::string decode(std::span<const std::int64_t> tokens) const override;
  /// UTF-8, with U+FFFD in place of what is none: what Hugging Face's decode gives.
  std::string decode_text(std::span<const std::int64_t> tokens, bool skip_special_tokens) const;

  /// The bytes that one token stands for; empty for an id without a token.
  std::string_view bytes_of(std::int64_t id) const;
  bool is_special(std::int64_t id) const;
  /// As it is written in the vocabulary (see byte_alphabet.h).
  std::optional<std::string> id_to_token(std::int64_t id) const;
  std::optional<std::int64_t> token_to_id(std::string_view token) const;

  std::vector<std::int64_t> begin_of_text() const override { return prefix_; }
  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(bytes_.size()); }
  /// What a GGUF file or set_eos_token told; -1 if nothing did. A tokenizer.json does not tell it.
  std::int64_t eos_token() const override { return eos_; }
  /// An error, of code kInvalidArgument, if there is no such token. Not while others use the
  /// object.
  Status set_eos_token(std::int64_t id);

  /// What set_chat_template told; null if nothing did.
  ChatTemplateResult chat_template() const override { return chat_template_; }
  /// Not while others use the object.
  void set_chat_template(ChatTemplateResult found) { chat_template_ = std::move(found); }

 private:
  class Encoding;

  BpeTokenizer(std::unique_ptr<const TokenTable> table, BpeModel model, PreTokenizer pre_tokenizer,
               AddedTokenFinder raw, AddedTokenFinder normalized);
  void take_bytes(const std::vector<AddedToken>& added);

  std::unique_ptr<const TokenTable> table_;  ///< The model points to it.
  BpeModel model_;
  PreTokenizer pre_tokenizer_;
  AddedTokenFinder raw_tokens_;         ///< Looked for in the text as it comes.
  AddedTokenFinder normalized_tokens_;  ///< Looked for in normalised text.
  bool nfc_ = false;
  std::vector<std::int64_t> prefix_;
  std::vector<std::int64_t> suffix_;
  std::int64_t eos_ = -1;
  ChatTemplateResult chat_template_ = std::shared_ptr<const ChatTemplate>();
  std::vector<std::string> bytes_;  ///< By id.
  std::vector<bool> special_;       ///< By id.
};

}  // namespace tinkex::tokenizers
