// A line of a file of examples.

#include "torch_ext/training_text.h"

#include "tests/fuzz/properties.h"
#include "tinkex/tokenizer.h"

namespace tinkex::fuzz {
namespace {

using torch_ext::TextExample;

const ChatTemplate& chat() {
  static const ChatTemplate chat =
      ChatTemplate::parse(
          "{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}"
          "{% if add_generation_prompt %}<assistant>{% endif %}{{ tools }}",
          "", "")
          .value();
  return chat;
}

void check_tokens(const TextExample& example) {
  const ByteTokenizer tokenizer;
  const auto text = torch_ext::tokenize(example, tokenizer).value();
  TINKEX_FUZZ_CHECK(text.tokens.size() == text.weights.size());
  TINKEX_FUZZ_CHECK(text.tokens.size() >= 2);
  std::string all;
  for (const torch_ext::TextPart& part : example.parts) all += part.text;
  TINKEX_FUZZ_CHECK(tokenizer.decode(text.tokens) == all);
}

}  // namespace
}  // namespace tinkex::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tinkex;
  using namespace tinkex::fuzz;
  const AllocationMeter meter;
  const auto example = torch_ext::parse_example(text_of(data, size));
  TINKEX_FUZZ_CHECK(meter.peak() <= allowed_memory(size));
  if (!example.ok()) {
    check_error(example.error(), {ErrorCode::kInvalidArgument});
    return 0;
  }
  check_tokens(*example);
  if (example->dialogue.empty()) return 0;
  const auto written = torch_ext::write_dialogue(chat(), example->dialogue);
  if (!written.ok()) {
    check_error(written.error(), {ErrorCode::kInvalidArgument});
    return 0;
  }
  TINKEX_FUZZ_CHECK(!written->empty());
  for (const TextExample& each : *written) check_tokens(each);
  return 0;
}
