#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace tinkex::torch_ext::programs {

/// What no option of a program takes, in the order in which it was typed: a sentence for each
/// option, with the one that was perhaps meant, and for each word alone. Shows no word that is more
/// than a name in small letters, as `--api-key`, or a letter, as `-p`: it may be a secret. For an
/// `app` that has parsed this command line.
std::vector<std::string> about_unknown(const CLI::App& app, int argc, const char* const* argv);

}  // namespace tinkex::torch_ext::programs
