#pragma once

#include <string>
#include <vector>

namespace tinkex::fuzz {

/// First inputs for the fuzzers of these names.
std::vector<std::string> tokenizer_gguf_seeds();
std::vector<std::string> tokenizer_json_seeds();
std::vector<std::string> tokenizer_pattern_seeds();
std::vector<std::string> tokenizer_text_seeds();

}  // namespace tinkex::fuzz
