#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace sft {

/// Looks at the value of an option as it was typed; gives what is wrong with it and the remedy, or
/// "". May write a number in the form that CLI11 reads.
using OptionCheck = std::function<std::string(std::string&)>;

/// An integer from `least` on, in decimal: for CLI11, which reads the text afterwards, a zero at
/// the front would make it octal.
OptionCheck whole_number(std::int64_t least, std::string advice,
                         std::int64_t most = std::numeric_limits<std::int32_t>::max());
OptionCheck positive_number();
OptionCheck not_empty();
OptionCheck one_of(std::vector<std::string> values);
/// What a server's address begins with. The rest is up to the client.
OptionCheck web_address();
/// `kBytes`, or something that is there.
OptionCheck tokenizer_place();

}  // namespace sft
