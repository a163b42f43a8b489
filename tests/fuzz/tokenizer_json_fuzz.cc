// A tokenizer.json, a zero byte, and a text for the tokenizer.

#include "tests/fuzz/properties.h"
#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "tinkex/tokenizers/streaming_decoder.h"

namespace tinkex::fuzz {
namespace {

using tokenizers::BpeTokenizer;

Result<BpeTokenizer> load(std::string_view json) {
  const AllocationMeter meter;
  auto tokenizer = BpeTokenizer::from_json(json);
  TINKEX_FUZZ_CHECK(meter.peak() <= allowed_memory(json.size()));
  if (!tokenizer.ok()) check_error(tokenizer.error(), {ErrorCode::kIo});
  return tokenizer;
}

void check_encoding(const BpeTokenizer& tokenizer, std::string_view text,
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

}  // namespace
}  // namespace tinkex::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tinkex::fuzz;
  ByteSource source(data, size);
  const auto tokenizer = load(source.until('\0'));
  if (!tokenizer.ok()) return 0;
  for (const bool flag : {false, true}) {
    check_encoding(*tokenizer, source.rest(), {flag, flag});
  }
  return 0;
}
