#include "tinkex/base/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <vector>

namespace tinkex::internal {
namespace {

// Bytes of the well-formed UTF-8 sequence that `text` begins with, or 0. The lower bound of the
// second byte rules out overlong forms, the upper one surrogates and values above U+10FFFF.
std::size_t sequence_length(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead < 0xc2   ? 0
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf5 ? 4
                                           : 0;
  if (length == 0 || length > text.size()) return 0;
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

/// The same for characters that may be shown; 0 for a control character.
std::size_t character_length(std::string_view text) noexcept {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x20 || lead == 0x7f) return 0;
  if (lead == 0xc2 && text.size() > 1 && static_cast<unsigned char>(text[1]) < 0xa0) return 0;
  return sequence_length(text);
}

bool is_key_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
}

/// Where in a word a key or a token of this API begins; npos: nowhere. Not only at its start: an
/// escaped line break before it, `\ntml-...`, makes the key the end of a longer word. There it has
/// to be long, because of words such as `html-page`.
std::size_t find_credential(std::string_view word) {
  constexpr std::size_t kLong = 8;
  for (const std::string_view beginning : {"tml-", "eyJ"}) {
    if (word.size() > 4 && word.starts_with(beginning)) return 0;
    const std::size_t at = word.find(beginning);
    if (at != std::string_view::npos && word.size() - at >= beginning.size() + kLong) return at;
  }
  return std::string_view::npos;
}

/// The length of what `text` begins with if that is a user name and a password as a header of basic
/// authentication holds them (RFC 7617); 0 if it is a word.
std::size_t encoded_length(std::string_view text) {
  const std::size_t length =
      text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
  const std::string_view encoded = text.substr(0, length);
  const auto in_no_word = [](char c) { return std::islower(static_cast<unsigned char>(c)) == 0; };
  return std::any_of(encoded.begin() + !encoded.empty(), encoded.end(), in_no_word) ? encoded.size()
                                                                                    : 0;
}

std::string without_credentials(std::string_view text) {
  std::string out;
  bool behind_basic = false;
  while (!text.empty()) {
    if (const std::size_t length = behind_basic ? encoded_length(text) : 0; length > 0) {
      out.append("***");
      text.remove_prefix(length);
      behind_basic = false;
      continue;
    }
    const auto word_end = std::find_if_not(text.begin(), text.end(), is_key_character);
    const auto length = std::max<std::size_t>(1, static_cast<std::size_t>(word_end - text.begin()));
    const std::string_view word = text.substr(0, length);
    const std::size_t credential = find_credential(word);
    out.append(word.substr(0, credential));
    if (credential != std::string_view::npos) out.append("***");
    behind_basic = equals_ignoring_case(word, "basic") || (behind_basic && word == " ");
    text.remove_prefix(length);
  }
  return out;
}

/// `text` with `secret` as ***, and without the beginning of one at the end of a text that goes on.
std::string without(std::string_view secret, std::string_view text, bool goes_on) {
  std::string out;
  for (std::size_t at; !secret.empty() && (at = text.find(secret)) != std::string_view::npos;) {
    out.append(text.substr(0, at)).append("***");
    text.remove_prefix(at + secret.size());
  }
  std::size_t begun = goes_on && !secret.empty() ? std::min(secret.size() - 1, text.size()) : 0;
  while (begun > 0 && !text.ends_with(secret.substr(0, begun))) --begun;
  return out.append(text.substr(0, text.size() - begun));
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), to_lower);
  return out;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return to_lower(x) == to_lower(y); });
}

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

std::string without_secrets(std::string_view text, std::span<const std::string_view> secrets,
                            bool goes_on) {
  // The longest first: of a secret that holds another one nothing else would be found.
  std::vector<std::string_view> sorted(secrets.begin(), secrets.end());
  std::sort(sorted.begin(), sorted.end(),
            [](std::string_view a, std::string_view b) { return a.size() > b.size(); });
  std::string out(text);
  for (const std::string_view secret : sorted) out = without(secret, out, goes_on);
  // A stranger's key that the end of the text cuts is still recognised by how it begins.
  return without_credentials(out);
}

std::string number_text(double value) {
  std::array<char, 32> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value);
  return std::string(text.data(), written.ptr);
}

}  // namespace tinkex::internal
