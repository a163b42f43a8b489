#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

namespace tinkex::internal {

/// How deep the brackets of a text nest, counted up to `enough`. Texts in quotes do not count.
/// Of a text that is no JSON it tells at least the depth that a parser gets to before it gives up.
inline int nesting_depth(std::string_view text, int enough) {
  int depth = 0;
  int deepest = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size() && deepest < enough; ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

/// Parses text from a stranger: where it is no JSON, or nests deeper than `max_depth`, the value is
/// discarded (Json::is_discarded). Throws nothing but std::bad_alloc.
///
/// The depth is found before, not by the parser's callback: with one, nlohmann's parser looks
/// through all of a list again after each object in it.
template <class Json = nlohmann::json>
Json parse_bounded(std::string_view text, int max_depth) {
  if (nesting_depth(text, max_depth + 1) > max_depth) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace tinkex::internal
