#pragma once

#include <string>
#include <string_view>

#include "tinkex/error.h"

namespace tinkex::tokenizers {

/// Rewrites a pattern of a tokenizer file, which is written for Oniguruma with Ruby's syntax, so
/// that PCRE2 matches the same with it. Classes (`\s`, `\w`, `\p{L}`, ...) are spelled out where
/// the two libraries mean different characters.
///
/// Known are characters and their escapes, `.`, classes in square brackets without nesting, `\s \d
/// \w \p{...}` and their opposites, groups that capture or not, `(?i:`, `(?>`, look-around,
/// alternatives, and greedy, lazy and possessive repetition. Whatever else there is, for example
/// anchors, references and options for the rest of a group, gives an error of code kIo that names
/// it.
Result<std::string> translate_regex(std::string_view pattern);

/// A pattern that matches just this text.
std::string literal_regex(std::string_view text);

}  // namespace tinkex::tokenizers
