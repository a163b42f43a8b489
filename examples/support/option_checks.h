#pragma once

#include <string>
#include <vector>

#include "torch_ext/programs/option_checks.h"

namespace sft {

using tinkex::torch_ext::programs::OptionCheck;
using tinkex::torch_ext::programs::whole_number;

OptionCheck positive_number();
OptionCheck not_empty();
OptionCheck one_of(std::vector<std::string> values);
/// What a server's address begins with. The rest is up to the client.
OptionCheck web_address();
/// `kBytes`, or something that is there.
OptionCheck tokenizer_place();

}  // namespace sft
