#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"

namespace tinkex {

class ChatTemplate;

/// Null where there is none; an error for one that cannot be used.
using ChatTemplateResult = Result<std::shared_ptr<const ChatTemplate>>;

/// Text to token ids and back. Immutable and thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::vector<std::int64_t> encode(std::string_view text) const = 0;
  /// Bytes of the tokens, not necessarily whole UTF-8 characters. Special tokens give nothing.
  virtual std::string decode(std::span<const std::int64_t> tokens) const = 0;
  /// What a model of this tokenizer expects before a text: a token for its beginning, or nothing.
  virtual std::vector<std::int64_t> begin_of_text() const { return {}; }
  /// The token that ends a text.
  virtual std::int64_t eos_token() const = 0;
  /// Ids are below this.
  virtual std::int64_t vocab_size() const = 0;
  /// How the model wants a conversation to be written (tinkex/chat_template.h). Errors name the
  /// file that has the template.
  virtual ChatTemplateResult chat_template() const { return std::shared_ptr<const ChatTemplate>(); }
};

/// Each byte is a token: ids 0 to 255 are the bytes, then beginning of text, end of text, padding.
class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr char kId[] = "tinkex/bytes";  ///< What a server calls it (`tokenizer_id`).
  static constexpr std::int64_t kBeginOfText = 256;
  static constexpr std::int64_t kEndOfText = 257;
  static constexpr std::int64_t kPadding = 258;
  static constexpr std::int64_t kVocabSize = 259;

  std::vector<std::int64_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int64_t> tokens) const override;
  std::vector<std::int64_t> begin_of_text() const override { return {kBeginOfText}; }
  std::int64_t eos_token() const override { return kEndOfText; }
  std::int64_t vocab_size() const override { return kVocabSize; }
};

}  // namespace tinkex
