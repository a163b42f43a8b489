#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tinkex::tokenizers {

class BpeTokenizer;

/// Tokens to text while they come. A character whose bytes are spread over several tokens is held
/// back until it is whole, so that every piece is valid UTF-8. The pieces together are what
/// BpeTokenizer::decode_text gives for all tokens.
///
/// Refers to the tokenizer, which must live longer. For one thread at a time.
class StreamingDecoder {
 public:
  StreamingDecoder(const BpeTokenizer& tokenizer, bool skip_special_tokens)
      : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens) {}

  /// The text that is certain now and was not before: often empty. Ids without a token give
  /// nothing.
  std::string push(std::int64_t token);
  /// What is still held back, as U+FFFD. The decoder can then be used for another text.
  std::string finish();

 private:
  const BpeTokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::string held_;
};

}  // namespace tinkex::tokenizers
