// A chat template, a zero byte, and messages as JSON; without them, a conversation.

#include <chrono>
#include <nlohmann/json.hpp>

#include "tests/fuzz/properties.h"
#include "tinkex/base/text.h"
#include "tinkex/chat_template.h"

namespace tinkex::fuzz {
namespace {

using Json = nlohmann::ordered_json;

/// What a rendering of short messages may take.
constexpr std::size_t kMostMemory = std::size_t{96} << 20;
/// Given back or not: time goes by in copies that the most memory at once does not show.
constexpr std::size_t kMostCopied = std::size_t{512} << 20;

const Json& conversation() {
  static const Json messages = Json::parse(R"([
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "Wie geht\u2019s?\n"},
    {"role": "assistant", "content": "<think>\nx\n</think>\n\ny", "tool_calls":
      [{"function": {"name": "f", "arguments": {"a": [1, 2.5, null, true], "b": "c"}}}]},
    {"role": "tool", "content": "{}"}])");
  return messages;
}

void check_rendering(const ChatTemplate& chat, const Json& messages, bool add_generation_prompt) {
  const ChatInputs inputs = {.add_generation_prompt = add_generation_prompt,
                             .now = std::chrono::local_seconds{}};
  const AllocationMeter meter;
  const auto text = chat.render(messages, inputs);
  TINKEX_FUZZ_CHECK(meter.peak() <= kMostMemory);
  TINKEX_FUZZ_CHECK(meter.total() <= kMostCopied);
  if (!text.ok()) return check_error(text.error(), {ErrorCode::kInvalidArgument});
  TINKEX_FUZZ_CHECK(internal::is_utf8(*text));
  TINKEX_FUZZ_CHECK(chat.render(messages, inputs).value() == *text);
}

}  // namespace
}  // namespace tinkex::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tinkex::fuzz;
  ByteSource source(data, size);
  const auto chat = tinkex::ChatTemplate::parse(source.until('\0'), "<s>", "</s>");
  if (!chat.ok()) {
    check_error(chat.error(), {tinkex::ErrorCode::kInvalidArgument});
    return 0;
  }
  Json messages = Json::parse(source.rest(), nullptr, /*allow_exceptions=*/false);
  if (messages.is_discarded()) messages = conversation();
  for (const bool prompt : {false, true}) check_rendering(*chat, messages, prompt);
  return 0;
}
