#pragma once

#include <string>
#include <vector>

namespace tinkex::fuzz {

/// First inputs for the fuzzers tokenizer_json, tokenizer_pattern and tokenizer_text.
std::vector<std::string> tokenizer_json_seeds();
std::vector<std::string> tokenizer_pattern_seeds();
std::vector<std::string> tokenizer_text_seeds();

}  // namespace tinkex::fuzz
