#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace tinkex::internal {

/// Whether `text` is well-formed UTF-8: no overlong form, no surrogate, nothing above U+10FFFF.
bool is_utf8(std::string_view text) noexcept;

/// Of ASCII letters only, whatever the locale: names in HTTP are like that.
constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
std::string lower_case(std::string_view text);
bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept;

/// What a URL, a header's name and a key may hold.
constexpr bool is_visible_ascii(char c) noexcept { return c >= 0x21 && c <= 0x7e; }

/// Whether it has the form of a key of this API, or of a token that stands for one. Clients send
/// nothing else to other machines.
constexpr bool looks_like_api_key(std::string_view text) noexcept {
  return text.starts_with("tml-") || text.starts_with("eyJ");
}

/// Foreign text made safe for one line of a message: control characters become spaces, bytes that
/// are not UTF-8 become `?`, and beyond about `max_bytes` it is cut between two characters, with
/// `...`.
std::string printable(std::string_view text, std::size_t max_bytes);

/// The same in quotation marks, for naming a value that the caller gave.
std::string quoted(std::string_view text, std::size_t max_bytes = 80);

/// `text` with *** for `secrets`, for what looks like a key or a token of this API and for what
/// stands behind the word Basic, as a proxy's password does: some servers, proxies and debug pages
/// repeat the request's headers. `goes_on`: more stood behind the
/// text, so that it may end within a secret; that begun one is left out. Cut what a message quotes
/// after this, not before: of a part nobody can tell that it is one.
std::string without_secrets(std::string_view text, std::span<const std::string_view> secrets,
                            bool goes_on);

/// A number in the shortest form that reads back as the same: `0.1`, `5`, `nan`.
std::string number_text(double value);

}  // namespace tinkex::internal
