#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>

namespace tinkex::torch_ext::programs {

/// Looks at the value of an option as it was typed; gives what is wrong with it and the remedy, or
/// "". May write a number in the form that CLI11 reads.
using OptionCheck = std::function<std::string(std::string&)>;

/// An integer from `least` on, in decimal: for CLI11, which reads the text afterwards, a zero at
/// the front would make it octal.
OptionCheck whole_number(std::int64_t least, std::string advice,
                         std::int64_t most = std::numeric_limits<std::int32_t>::max());

}  // namespace tinkex::torch_ext::programs
