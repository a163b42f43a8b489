#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace tinkex::internal {

/// Parses text from a stranger: what nests deeper than `max_depth` is left out, and where the text
/// is no JSON, the value is discarded (Json::is_discarded). Throws nothing but std::bad_alloc.
template <class Json = nlohmann::json>
Json parse_bounded(std::string_view text, int max_depth) {
  const auto bounded = [max_depth](int depth, typename Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    return !opens || depth <= max_depth;
  };
  return Json::parse(text, bounded, /*allow_exceptions=*/false);
}

}  // namespace tinkex::internal
