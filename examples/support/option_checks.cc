#include "examples/support/option_checks.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <system_error>
#include <utility>

#include "examples/support/options.h"
#include "examples/support/server_name.h"

namespace sft {

OptionCheck positive_number() {
  return [](std::string& text) -> std::string {
    double value = 0;
    const char* const all = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), all, value);
    if (error == std::errc() && end == all && std::isfinite(value) && value > 0) return "";
    return "'" + text + "' is not a positive number; give one such as 0.005 or 1e-4";
  };
}

OptionCheck not_empty() {
  return [](std::string& text) -> std::string {
    return text.empty() ? "is empty; give a value or leave the option out" : "";
  };
}

OptionCheck one_of(std::vector<std::string> values) {
  return [values = std::move(values)](std::string& text) -> std::string {
    if (std::ranges::count(values, text) > 0) return "";
    std::string names;
    for (const std::string& value : values) names += (names.empty() ? "" : ", ") + value;
    return "'" + text + "' is none of its values; give one of: " + names;
  };
}

OptionCheck web_address() {
  return [](std::string& text) -> std::string {
    if (!scheme_of(text).empty()) return "";
    if (text.empty()) return not_empty()(text);
    return "'" + origin_of(text) +
           "' does not begin with http:// or https://; give a server's address such as "
           "http://127.0.0.1:8080";
  };
}

OptionCheck tokenizer_place() {
  return [](std::string& text) -> std::string {
    std::error_code missing;
    if (text == kBytes || std::filesystem::exists(text, missing)) return "";
    return "'" + text + "' is not there; give a tokenizer.json, a model or bytes";
  };
}

}  // namespace sft
