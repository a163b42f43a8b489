#pragma once

#include <optional>

namespace examples {

/// The command line of an example without options: tells what it does if asked by --help, and
/// refuses anything else. Gives the exit code of a program that is done by that.
std::optional<int> answer_options(int argc, const char* const* argv, const char* about);

}  // namespace examples
