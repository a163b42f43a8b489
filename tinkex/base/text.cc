#include "tinkex/base/text.h"

#include <array>
#include <charconv>

namespace tinkex::internal {
namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

/// Bytes of the printable UTF-8 character that `text` begins with; 0 if it begins with none.
std::size_t character_length(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const std::size_t length = lead >= 0xf5   ? 0
                             : lead >= 0xf0 ? 4
                             : lead >= 0xe0 ? 3
                             : lead >= 0xc2 ? 2
                                            : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if (!is_continuation(text[i])) return 0;
  }
  const unsigned char second = byte(1);
  if (lead == 0xc2 && second < 0xa0) return 0;   // control characters
  if (lead == 0xe0 && second < 0xa0) return 0;   // longer than need be
  if (lead == 0xed && second >= 0xa0) return 0;  // half of a surrogate pair
  if (lead == 0xf0 && second < 0x90) return 0;   // longer than need be
  if (lead == 0xf4 && second >= 0x90) return 0;  // beyond Unicode
  return length;
}

}  // namespace

std::string printable(std::string_view text, std::size_t max_bytes) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    if (out.size() + (length == 0 ? 1 : length) > max_bytes) return out + "...";
    if (length > 0) {
      out.append(text.substr(0, length));
    } else {
      out.push_back(static_cast<unsigned char>(text.front()) < 0x80 ? ' ' : '?');
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

std::string quoted(std::string_view text, std::size_t max_bytes) {
  return "'" + printable(text, max_bytes) + "'";
}

std::string number_text(double value) {
  std::array<char, 32> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value);
  return std::string(text.data(), written.ptr);
}

}  // namespace tinkex::internal
