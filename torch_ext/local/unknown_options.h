#pragma once

#include <string>
#include <vector>

namespace tinkex::torch_ext::local {

/// What no option of a program takes, in the order in which it was typed: a sentence for each
/// option, without its value, which may be a secret, and for each word alone; the option that was
/// perhaps meant. `rest` is what the command line's parser has left over, `options` are the names
/// that there are, with their dashes.
std::vector<std::string> about_unknown(const std::vector<std::string>& rest,
                                       const std::vector<std::string>& options);

}  // namespace tinkex::torch_ext::local
