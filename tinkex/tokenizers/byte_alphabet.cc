#include "tinkex/tokenizers/byte_alphabet.h"

#include <array>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/utf8.h"

namespace tinkex::tokenizers {
namespace {

constexpr std::size_t kCharacters = 0x100 + 68;

bool is_itself(int byte) noexcept {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

struct Alphabet {
  Alphabet() {
    byte_of.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t character = is_itself(byte) ? static_cast<char32_t>(byte) : next++;
      append_utf8(character, texts[static_cast<std::size_t>(byte)]);
      byte_of[character] = byte;
    }
  }

  std::array<std::string, 256> texts;
  std::array<int, kCharacters> byte_of;
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::optional<std::string> bytes_of_token(std::string_view token) {
  if (!internal::is_utf8(token)) return std::nullopt;
  const Alphabet& letters = alphabet();
  std::string bytes;
  for (std::size_t position = 0; position < token.size();) {
    const char32_t character = next_code_point(token, position);
    if (character >= kCharacters || letters.byte_of[character] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(letters.byte_of[character]));
  }
  return bytes;
}

std::string_view token_of_byte(unsigned char byte) { return alphabet().texts[byte]; }

std::string token_of_bytes(std::string_view bytes) {
  std::string token;
  token.reserve(2 * bytes.size());
  for (const char byte : bytes) token += token_of_byte(static_cast<unsigned char>(byte));
  return token;
}

}  // namespace tinkex::tokenizers
