#pragma once

#include <string>
#include <string_view>

namespace tinkex::tokenizers {

/// Characters that PCRE2 10.42, which knows Unicode 14, does not count to a class, while the
/// tokenizers of Hugging Face 0.23 do, whose patterns know Unicode 16. In the form of members of a
/// class in square brackets, `\x{1c89}-\x{1c8a}...`; empty where there are none.
///
/// `name` is a general category, a script, "word" (what `\w` has beside \p{Alphabetic}, \p{M},
/// \p{Nd} and \p{Pc}) or "numeric" (what the Digits step has beside \p{N}: Unicode 17).
std::string unicode_additions(std::string_view name);

}  // namespace tinkex::tokenizers
