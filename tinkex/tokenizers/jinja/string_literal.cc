#include "tinkex/tokenizers/jinja/string_literal.h"

#include <charconv>
#include <cstddef>
#include <cstdint>

#include "tinkex/tokenizers/utf8.h"

namespace tinkex::jinja {
namespace {

using namespace std::string_view_literals;  // NOLINT(google-build-using-namespace): for a zero
                                            // byte.

constexpr std::string_view kSimple = "\n\\'\"abfnrtv"sv;
constexpr std::string_view kMeaning = "\0\\'\"\a\b\f\n\r\t\v"sv;
static_assert(kSimple.size() == kMeaning.size());

/// A number of `digits` digits at most, or exactly if that is asked for, which is taken off.
std::optional<std::uint32_t> number(std::string_view& text, std::size_t digits, int base,
                                    bool exact) {
  std::uint32_t value = 0;
  const std::string_view part = text.substr(0, digits);
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value, base);
  const auto used = static_cast<std::size_t>(end - part.data());
  if (error != std::errc() || (exact && used != digits)) return std::nullopt;
  text.remove_prefix(used);
  return value;
}

bool add_escape(std::string_view& rest, std::string& out) {
  const char kind = rest.front();
  if (const std::size_t simple = kSimple.find(kind); simple != std::string_view::npos) {
    if (kind != '\n') out += kMeaning[simple];  // A line that goes on.
    rest.remove_prefix(1);
    return true;
  }
  const std::size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
  std::optional<std::uint32_t> code;
  if (digits > 0) {
    rest.remove_prefix(1);
    code = number(rest, digits, 16, true);
  } else if (kind >= '0' && kind <= '7') {
    code = number(rest, 3, 8, false);
  } else {
    out += '\\';  // Unknown ones stay.
    return true;
  }
  if (!code || *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000)) return false;
  tokenizers::append_utf8(*code, out);
  return true;
}

}  // namespace

std::optional<std::string> string_literal(std::string_view body) {
  std::string out;
  while (!body.empty()) {
    const std::size_t slash = body.find('\\');
    out += body.substr(0, slash);
    if (slash == std::string_view::npos) break;
    body.remove_prefix(slash + 1);
    if (body.empty() || !add_escape(body, out)) return std::nullopt;
  }
  return out;
}

}  // namespace tinkex::jinja
