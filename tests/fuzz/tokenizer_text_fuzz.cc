// A text for tokenizers that know every byte: it comes back as it was.

#include <array>

#include "tests/fuzz/properties.h"
#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "tinkex/tokenizers/byte_alphabet.h"
#include "tinkex/tokenizers/nfc.h"
#include "tinkex/tokenizers/utf8.h"

namespace tinkex::fuzz {
namespace {

using tokenizers::BpeTokenizer;

BpeTokenizer make(const char* pre) {
  tokenizers::GgufVocabulary vocabulary;
  vocabulary.pre = pre;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.emplace_back(tokenizers::token_of_byte(static_cast<unsigned char>(byte)));
  }
  vocabulary.token_types.assign(256, 1);
  for (const char* merge : {"a a", "a b", "aa aa", "Ġ a", "Ġ Ġ", "ĠĠ ĠĠ", "Ã ©", "t h", "th e"}) {
    vocabulary.merges.emplace_back(merge);
    std::string token = merge;
    token.erase(token.find(' '), 1);
    vocabulary.tokens.push_back(token);
    vocabulary.token_types.push_back(1);
  }
  for (const char* token : {"<|s|>", "<|s|><|e|>", "  "}) {
    vocabulary.tokens.emplace_back(token);
    vocabulary.token_types.push_back(vocabulary.tokens.size() % 2 == 0 ? 3 : 4);
  }
  vocabulary.bos_token = 0;
  return BpeTokenizer::from_gguf(std::move(vocabulary)).value();
}

void check(const BpeTokenizer& tokenizer, std::string_view text, const std::string& expected) {
  for (const bool special : {false, true}) {
    const auto ids = tokenizer.encode(text, {false, special});
    TINKEX_FUZZ_CHECK(ids.ok());
    TINKEX_FUZZ_CHECK(tokenizer.decode(*ids, /*skip_special_tokens=*/false) == expected);
  }
}

}  // namespace
}  // namespace tinkex::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tinkex::fuzz;
  static const std::array<BpeTokenizer, 3> plain = {make("gpt-2"), make("smollm"),
                                                    make("llama-bpe")};
  static const BpeTokenizer normalising = make("qwen2");
  const std::string_view text = text_of(data, size);
  const std::string lossy = tinkex::tokenizers::lossy_utf8(text);
  for (const auto& tokenizer : plain) check(tokenizer, text, lossy);
  const std::string composed = tinkex::tokenizers::nfc(lossy);
  TINKEX_FUZZ_CHECK(tinkex::tokenizers::lossy_utf8(composed) == composed);
  TINKEX_FUZZ_CHECK(tinkex::tokenizers::nfc(composed) == composed);
  check(normalising, lossy,
        normalising.decode(*normalising.encode(composed, {false, false}), false));
  return 0;
}
