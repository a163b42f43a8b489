#pragma once

#include <string>
#include <string_view>

namespace tinkex::tokenizers {

/// Unicode's normalisation form C of well-formed UTF-8, as of Unicode 9: what became a combining
/// mark later is taken for a letter, as in the `tokenizers` of Hugging Face 0.23. Takes n log n
/// steps at most, whatever the text.
std::string nfc(std::string_view text);

}  // namespace tinkex::tokenizers
