#pragma once

#include <string>
#include <string_view>

namespace sft {

/// "1 step", "20 steps".
template <class Number>
std::string counted(Number number, std::string_view noun) {
  return std::to_string(number) + " " + std::string(noun) + (number == 1 ? "" : "s");
}

}  // namespace sft
