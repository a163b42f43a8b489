#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tinkex::tokenizers {

/// The text with U+FFFD in place of what is not UTF-8, one for each maximal part of a character
/// (the Unicode standard's "substitution of maximal subparts", which Rust and Python use too).
std::string lossy_utf8(std::string_view bytes);

/// How many bytes at the end begin a character that further bytes may complete: 0 to 3.
std::size_t incomplete_tail(std::string_view bytes) noexcept;

/// The code point at `position` of well-formed UTF-8, and the position after it.
char32_t next_code_point(std::string_view text, std::size_t& position) noexcept;

/// Where the code point begins that ends at `end`, of well-formed UTF-8; `end` is above 0.
std::size_t previous_position(std::string_view text, std::size_t end) noexcept;

/// Appends a code point, which is no surrogate and at most U+10FFFF.
void append_utf8(char32_t code_point, std::string& out);

/// Unicode's White_Space property: what `\s` means in the tokenizers' patterns.
bool is_white_space(char32_t code_point) noexcept;

}  // namespace tinkex::tokenizers
