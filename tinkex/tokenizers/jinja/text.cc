#include "tinkex/tokenizers/jinja/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <locale>
#include <sstream>

#include "tinkex/tokenizers/utf8.h"

namespace tinkex::jinja {
namespace {

using tokenizers::append_utf8;
using tokenizers::next_code_point;
using tokenizers::previous_position;

template <class Drop>
std::string_view strip_where(std::string_view text, Side side, const Drop& drop) {
  while (side != Side::kRight && !text.empty()) {
    std::size_t next = 0;
    if (!drop(next_code_point(text, next))) break;
    text.remove_prefix(next);
  }
  while (side != Side::kLeft && !text.empty()) {
    const std::size_t last = previous_position(text, text.size());
    std::size_t at = last;
    if (!drop(next_code_point(text, at))) break;
    text = text.substr(0, last);
  }
  return text;
}

utf8proc_category_t category(char32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}
char32_t to_upper(char32_t c) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}
char32_t to_lower(char32_t c) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}
char32_t to_title(char32_t c) {
  return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
}
bool is_cased(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL ||
         kind == UTF8PROC_CATEGORY_LT;
}

/// `change(code_point, previous)` for each; `previous` is a space at the beginning.
template <class Change>
std::string map_characters(std::string_view text, const Change& change) {
  std::string out;
  out.reserve(text.size());
  char32_t previous = ' ';
  for (std::size_t at = 0; at < text.size();) {
    const char32_t code_point = next_code_point(text, at);
    append_utf8(change(code_point, previous), out);
    previous = code_point;
  }
  return out;
}

/// Whether there is a cased letter, and none of `other`.
bool all_cased(std::string_view text, utf8proc_category_t other) {
  bool any = false;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t code_point = next_code_point(text, at);
    const auto kind = category(code_point);
    if (kind == other || kind == UTF8PROC_CATEGORY_LT) return false;
    any = any || is_cased(code_point);
  }
  return any;
}

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}

std::string escaped(char32_t c) {
  switch (c) {
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\\': return "\\\\";
    default: break;
  }
  char code[16];
  const char* form = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(code, sizeof(code), form, static_cast<unsigned>(c));
  return code;
}

/// The number of a text that std::from_chars finds to be beyond a double, without saying which way.
double beyond_double(std::string_view text) {
  std::istringstream stream{std::string(text)};
  stream.imbue(std::locale::classic());
  double value = 0;
  stream >> value;
  return std::abs(value) > 1 ? std::copysign(std::numeric_limits<double>::infinity(), value)
                             : value;
}

bool ends_line(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

bool is_python_space(char32_t code_point) noexcept {
  return (code_point >= 0x1C && code_point <= 0x1F) || tokenizers::is_white_space(code_point);
}

std::string_view strip(std::string_view text, Side side) {
  return strip_where(text, side, is_python_space);
}

std::string_view strip(std::string_view text, Side side, std::string_view set) {
  std::vector<char32_t> dropped;
  for (std::size_t at = 0; at < set.size();) dropped.push_back(next_code_point(set, at));
  return strip_where(text, side, [&](char32_t c) {
    return std::find(dropped.begin(), dropped.end(), c) != dropped.end();
  });
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> found;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    next_code_point(text, at);
    found.push_back(text.substr(begin, at - begin));
  }
  return found;
}

std::size_t length(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::vector<std::string_view> split(std::string_view text, std::string_view separator,
                                    std::int64_t limit, bool from_right) {
  std::vector<std::string_view> parts;
  for (; limit != 0; --limit) {
    const std::size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    const std::string_view after = text.substr(at + separator.size());
    parts.emplace_back(from_right ? after : text.substr(0, at));
    text = from_right ? text.substr(0, at) : after;
  }
  parts.emplace_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_at_space(std::string_view text, std::int64_t limit,
                                             bool from_right) {
  std::vector<std::string_view> parts;
  const Side side = from_right ? Side::kRight : Side::kLeft;
  for (text = strip(text, side); !text.empty(); text = strip(text, side)) {
    std::size_t end = from_right ? text.size() : 0;
    while (limit != 0 && (from_right ? end > 0 : end < text.size())) {
      const std::size_t begin = from_right ? previous_position(text, end) : end;
      std::size_t at = begin;
      if (is_python_space(next_code_point(text, at))) break;
      end = from_right ? begin : at;
    }
    if (limit == 0) {
      parts.emplace_back(text);  // Python leaves the white space at its far end.
      break;
    }
    parts.emplace_back(from_right ? text.substr(end) : text.substr(0, end));
    text = from_right ? text.substr(0, end) : text.substr(end);
    --limit;
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = at;
    const char32_t code_point = next_code_point(text, at);
    if (!ends_line(code_point)) continue;
    if (code_point == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string replace(std::string_view text, std::string_view old, std::string_view with,
                    std::int64_t limit) {
  std::string out;
  std::size_t at = 0;
  while (limit != 0) {
    std::size_t found = old.empty() ? at : text.find(old, at);
    if (found == std::string_view::npos) break;
    out.append(text.substr(at, found - at)).append(with);
    at = found + old.size();
    --limit;
    if (!old.empty()) continue;
    // Between all characters, and at both ends.
    if (at == text.size()) return out;
    next_code_point(text, at);
    out.append(text.substr(found, at - found));
  }
  return out.append(text.substr(at));
}

std::size_t count(std::string_view text, std::string_view wanted) {
  if (wanted.empty()) return length(text) + 1;
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(wanted, at)) != std::string_view::npos;) {
    ++found;
    at += wanted.size();
  }
  return found;
}

std::string upper(std::string_view text) {
  return map_characters(text, [](char32_t c, char32_t) { return to_upper(c); });
}
std::string lower(std::string_view text) {
  return map_characters(text, [](char32_t c, char32_t) { return to_lower(c); });
}
std::string capitalize(std::string_view text) {
  if (text.empty()) return "";
  std::size_t at = 0;
  std::string out;
  append_utf8(to_title(next_code_point(text, at)), out);
  return out += lower(text.substr(at));
}
std::string title(std::string_view text) {
  return map_characters(text, [](char32_t c, char32_t previous) {
    return is_cased(previous) ? to_lower(c) : to_title(c);
  });
}
std::string title_words(std::string_view text) {
  return map_characters(text, [](char32_t c, char32_t previous) {
    const bool begins = previous == '-' || previous == '(' || previous == '{' || previous == '[' ||
                        previous == '<' || is_python_space(previous);
    return begins ? to_upper(c) : to_lower(c);
  });
}
bool is_upper(std::string_view text) { return all_cased(text, UTF8PROC_CATEGORY_LL); }
bool is_lower(std::string_view text) { return all_cased(text, UTF8PROC_CATEGORY_LU); }

std::optional<double> real_of(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error == std::errc::invalid_argument || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return error == std::errc() ? value : beyond_double(text);
}

std::string quote(std::string_view text) {
  const bool apostrophe = text.find('\'') != std::string_view::npos;
  const char mark = apostrophe && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, mark);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t code_point = next_code_point(text, at);
    if (code_point == static_cast<char32_t>(mark)) {
      out += '\\';
      out += mark;
    } else if (code_point == '\\' || !is_printable(code_point)) {
      out += escaped(code_point);
    } else {
      out += text.substr(begin, at - begin);
    }
  }
  return out += mark;
}

}  // namespace tinkex::jinja
