// A tokenizer.json, a zero byte, and a text for the tokenizer.

#include "tests/fuzz/properties.h"
#include "tests/fuzz/tokenizer_properties.h"

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
