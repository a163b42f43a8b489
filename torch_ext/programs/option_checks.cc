#include "torch_ext/programs/option_checks.h"

#include <charconv>
#include <system_error>
#include <utility>

namespace tinkex::torch_ext::programs {

OptionCheck whole_number(std::int64_t least, std::string advice, std::int64_t most) {
  return [least, advice = std::move(advice), most](std::string& text) -> std::string {
    std::int64_t value = 0;
    const char* const all = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), all, value);
    if (error == std::errc() && end == all && value >= least && value <= most) {
      text = std::to_string(value);
      return "";
    }
    return "'" + text + "' is not a whole number from " + std::to_string(least) + " to " +
           std::to_string(most) + "; " + advice;
  };
}

}  // namespace tinkex::torch_ext::programs
