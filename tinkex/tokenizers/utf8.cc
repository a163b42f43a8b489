#include "tinkex/tokenizers/utf8.h"

#include "tinkex/base/text.h"

namespace tinkex::tokenizers {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

unsigned byte_at(std::string_view text, std::size_t i) noexcept {
  return static_cast<unsigned char>(text[i]);
}

struct Part {
  std::size_t length;  ///< Bytes of the character, or of the maximal part of one.
  bool whole;
  bool cut;  ///< Not whole, and only because the text ends.
};

/// The character or the part of one that `text`, which is not empty, begins with.
Part first_part(std::string_view text) noexcept {
  const unsigned lead = byte_at(text, 0);
  if (lead < 0x80) return {1, true, false};
  const std::size_t length = lead < 0xc2   ? 0
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf5 ? 4
                                           : 0;
  if (length == 0) return {1, false, false};
  // The bounds of the second byte rule out overlong forms, surrogates and what is above U+10FFFF.
  unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, false, true};
    if (byte_at(text, i) < low || byte_at(text, i) > high) return {i, false, false};
    low = 0x80;
    high = 0xbf;
  }
  return {length, true, false};
}

}  // namespace

std::string lossy_utf8(std::string_view bytes) {
  if (internal::is_utf8(bytes)) return std::string(bytes);
  std::string out;
  out.reserve(bytes.size() + 16);
  while (!bytes.empty()) {
    const Part part = first_part(bytes);
    out.append(part.whole ? bytes.substr(0, part.length) : kReplacement);
    bytes.remove_prefix(part.length);
  }
  return out;
}

std::size_t incomplete_tail(std::string_view bytes) noexcept {
  for (std::size_t length = 1; length <= 3 && length <= bytes.size(); ++length) {
    const std::size_t start = bytes.size() - length;
    const bool continues = (byte_at(bytes, start) & 0xc0) == 0x80;
    if (!continues) return first_part(bytes.substr(start)).cut ? length : 0;
  }
  return 0;
}

char32_t next_code_point(std::string_view text, std::size_t& position) noexcept {
  const unsigned lead = byte_at(text, position++);
  if (lead < 0x80) return lead;
  const int more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
  char32_t value = lead & (0x3fu >> more);
  for (int i = 0; i < more; ++i) value = (value << 6) | (byte_at(text, position++) & 0x3f);
  return value;
}

std::size_t previous_position(std::string_view text, std::size_t end) noexcept {
  do {
    --end;
  } while (end > 0 && (byte_at(text, end) & 0xc0) == 0x80);
  return end;
}

void append_utf8(char32_t code_point, std::string& out) {
  const auto add = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) return add(code_point);
  if (code_point < 0x800) {
    add(0xc0 | code_point >> 6);
  } else if (code_point < 0x10000) {
    add(0xe0 | code_point >> 12);
    add(0x80 | (code_point >> 6 & 0x3f));
  } else {
    add(0xf0 | code_point >> 18);
    add(0x80 | (code_point >> 12 & 0x3f));
    add(0x80 | (code_point >> 6 & 0x3f));
  }
  add(0x80 | (code_point & 0x3f));
}

bool is_white_space(char32_t c) noexcept {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0d);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

}  // namespace tinkex::tokenizers
