#include "tests/fuzz/tokenizer_properties.h"

#include "tests/fuzz/properties.h"
#include "tinkex/tokenizers/streaming_decoder.h"

namespace tinkex::fuzz {

void check_encoding(const tokenizers::BpeTokenizer& tokenizer, std::string_view text,
                    tokenizers::EncodeOptions options) {
  const auto ids = tokenizer.encode(text, options);
  if (!ids.ok()) return check_error(ids.error(), {ErrorCode::kInvalidArgument});
  tokenizers::StreamingDecoder stream(tokenizer, options.add_special_tokens);
  std::string pieces;
  for (const std::int64_t id : *ids) {
    TINKEX_FUZZ_CHECK(id >= 0 && id < tokenizer.vocab_size());
    TINKEX_FUZZ_CHECK(tokenizer.id_to_token(id).has_value());
    TINKEX_FUZZ_CHECK(tokenizer.token_to_id(*tokenizer.id_to_token(id)) == id);
    pieces += stream.push(id);
  }
  pieces += stream.finish();
  TINKEX_FUZZ_CHECK(pieces == tokenizer.decode_text(*ids, options.add_special_tokens));
}

}  // namespace tinkex::fuzz
