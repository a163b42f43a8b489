// The vocabulary of a GGUF file and a text for its tokenizer: a byte that names the family, a byte
// of flags, lines, a zero byte, the text. A line is a merge behind an 'm', or else a token behind
// its type; each byte is a token already.

#include <array>

#include "tests/fuzz/properties.h"
#include "tests/fuzz/tokenizer_properties.h"
#include "tinkex/tokenizers/byte_alphabet.h"

namespace tinkex::fuzz {
namespace {

using tokenizers::BpeTokenizer;
using tokenizers::GgufVocabulary;

constexpr std::array<const char*, 4> kFamilies = {"gpt-2", "smollm", "llama-bpe", "qwen2"};

GgufVocabulary read_vocabulary(ByteSource source) {
  GgufVocabulary vocabulary;
  vocabulary.pre = kFamilies[source.number<unsigned char>() % kFamilies.size()];
  const auto flags = source.number<unsigned char>();
  if ((flags & 1) != 0) vocabulary.add_bos = (flags & 2) != 0;
  if ((flags & 4) != 0) vocabulary.add_eos = (flags & 8) != 0;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.emplace_back(tokenizers::token_of_byte(static_cast<unsigned char>(byte)));
    vocabulary.token_types.push_back(1);
  }
  while (!source.empty()) {
    const std::string_view line = source.until('\n');
    if (line.empty()) continue;
    if (line.front() == 'm') {
      vocabulary.merges.emplace_back(line.substr(1));
      continue;
    }
    vocabulary.tokens.emplace_back(line.substr(1));
    vocabulary.token_types.push_back(line.front() - '0');
  }
  const auto last = static_cast<std::int64_t>(vocabulary.tokens.size()) - 1;
  if ((flags & 16) != 0) vocabulary.bos_token = last;
  if ((flags & 32) != 0) vocabulary.eos_token = flags;
  return vocabulary;
}

}  // namespace
}  // namespace tinkex::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tinkex::fuzz;
  ByteSource source(data, size);
  const std::string_view file = source.until('\0');
  const AllocationMeter meter;
  const auto tokenizer = BpeTokenizer::from_gguf(
      read_vocabulary({reinterpret_cast<const std::uint8_t*>(file.data()), file.size()}));
  TINKEX_FUZZ_CHECK(meter.peak() <= allowed_memory(size));
  if (!tokenizer.ok()) {
    check_error(tokenizer.error(), {tinkex::ErrorCode::kIo});
    return 0;
  }
  for (const bool flag : {false, true}) {
    check_encoding(*tokenizer, source.rest(), {flag, flag});
  }
  return 0;
}
