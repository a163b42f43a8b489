#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tinkex::jinja {

/// Texts of UTF-8, with the meaning of Python's `str`.

enum class Side { kLeft, kRight, kBoth };

/// `str.isspace()` of one character, which is what `strip()` and `\s` take for white space.
bool is_python_space(char32_t code_point) noexcept;

/// Without white space at a side.
std::string_view strip(std::string_view text, Side side);
/// Without the characters of `set` at a side.
std::string_view strip(std::string_view text, Side side, std::string_view set);

std::vector<std::string_view> characters(std::string_view text);
std::size_t length(std::string_view text) noexcept;

/// `limit` parts are split off at most; at -1 all. `from_right` begins at the end.
std::vector<std::string_view> split(std::string_view text, std::string_view separator,
                                    std::int64_t limit, bool from_right);
/// At white space, without empty parts.
std::vector<std::string_view> split_at_space(std::string_view text, std::int64_t limit,
                                             bool from_right);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

/// The first `limit` occurrences; at -1 all.
std::string replace(std::string_view text, std::string_view old, std::string_view with,
                    std::int64_t limit);
/// Without overlaps.
std::size_t count(std::string_view text, std::string_view wanted);

/// Letter by letter: Python makes two of some, such as SS of a sharp s.
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
/// `str.title()`: a word begins wherever no letter comes before.
std::string title(std::string_view text);
/// The filter of that name: a word begins after white space, a hyphen or an opening bracket.
std::string title_words(std::string_view text);
bool is_upper(std::string_view text);
bool is_lower(std::string_view text);

/// The number that all of the text is. As in Python one that is too large is infinite.
std::optional<double> real_of(std::string_view text);

/// `repr(text)`.
std::string quote(std::string_view text);

}  // namespace tinkex::jinja
