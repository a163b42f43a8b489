#pragma once

#include <string>
#include <vector>

namespace tinkex::fuzz {

/// First inputs for the fuzzer chat_template.
std::vector<std::string> chat_template_seeds();

}  // namespace tinkex::fuzz
