#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace tinkex::torch_ext::programs {

/// What no option of a program takes, in the order in which it was typed: a sentence for each
/// option, without its value, which may be a secret, and for each word alone; the option that was
/// perhaps meant. For an `app` that has parsed.
std::vector<std::string> about_unknown(const CLI::App& app);

}  // namespace tinkex::torch_ext::programs
