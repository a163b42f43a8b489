#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tinkex::tokenizers {

/// The alphabet of byte-level vocabularies: each byte is written as one visible character. 0x21 to
/// 0x7e, 0xa1 to 0xac and 0xae to 0xff stand for themselves; the other 68, in order, are U+0100 and
/// what follows, so that a space is U+0120 and a line feed U+010A.

/// The bytes that a token stands for, nullopt if a character is not of the alphabet.
std::optional<std::string> bytes_of_token(std::string_view token);

/// The character of a byte, in UTF-8. The text lives as long as the program.
std::string_view token_of_byte(unsigned char byte);

/// The bytes as they are written in a vocabulary.
std::string token_of_bytes(std::string_view bytes);

}  // namespace tinkex::tokenizers
