// A pattern as tokenizer files have it, a zero byte, and a text to cut with it.

#include "tests/fuzz/properties.h"
#include "tinkex/tokenizers/pre_tokenizer.h"
#include "tinkex/tokenizers/regex_translation.h"
#include "tinkex/tokenizers/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tinkex::fuzz;
  using namespace tinkex::tokenizers;
  ByteSource source(data, size);
  const std::string_view pattern = source.until('\0');
  const auto regex = Regex::from_file_pattern(pattern);
  if (!regex.ok()) {
    check_error(regex.error(), {tinkex::ErrorCode::kIo});
    return 0;
  }
  // Short, because a pattern may take 256 steps for each byte.
  const std::string text = lossy_utf8(source.rest().substr(0, 512));
  for (const bool invert : {false, true}) {
    for (const auto behavior : {SplitBehavior::kIsolated, SplitBehavior::kMergedWithPrevious,
                                SplitBehavior::kMergedWithNext, SplitBehavior::kContiguous}) {
      const PreTokenizer pre_tokenizer({SplitStep{*regex, behavior, invert}});
      RegexScratch scratch;
      std::string whole;
      const bool done = pre_tokenizer.split(text, scratch, [&whole](std::string_view word) {
        TINKEX_FUZZ_CHECK(!word.empty());
        TINKEX_FUZZ_CHECK(lossy_utf8(word) == word);
        whole += word;
      });
      // Look-behind lets a match begin before the end of the one before; nothing else does.
      TINKEX_FUZZ_CHECK(!done || whole == text);
    }
  }
  return 0;
}
