#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace tinkex::torch_ext::local {

/// Parses the text of a file from a stranger. What is no JSON, nests deeper than 32 levels or gives
/// a key twice, which nlohmann's parser would take, is discarded (`is_discarded()`). Time is linear
/// in the text.
nlohmann::json parse_strict_json(std::string_view text);

}  // namespace tinkex::torch_ext::local
