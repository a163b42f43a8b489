#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace tinkex::wire {

/// Whether `text` is well-formed UTF-8: no overlong form, no surrogate, nothing above U+10FFFF.
bool is_utf8(std::string_view text) noexcept;

/// Length of the base64 form, padding included.
constexpr std::size_t base64_size(std::size_t bytes) noexcept { return (bytes + 2) / 3 * 4; }
/// Writes base64_size(bytes.size()) characters of the standard alphabet to `out`.
void base64_encode(std::string_view bytes, char* out) noexcept;
/// nullopt unless `text` is padded base64 of the standard alphabet without white space.
std::optional<std::string> base64_decode(std::string_view text);

/// `text` in quotes for an error message: cut to 40 bytes, and anything but printable ASCII is
/// shown as `\xNN`.
std::string in_quotes(std::string_view text);

}  // namespace tinkex::wire
