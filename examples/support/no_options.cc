#include "examples/support/no_options.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

namespace examples {

std::optional<int> answer_options(int argc, const char* const* argv, const char* about) {
  if (argc <= 1) return std::nullopt;
  const std::string name = std::filesystem::path(argv[0]).filename().string();
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    std::printf(
        "%s: %s\n"
        "It takes no options. TINKER_BASE_URL and TINKER_API_KEY choose a server; without them it "
        "trains in this process.\n",
        name.c_str(), about);
    return 0;
  }
  std::fprintf(stderr, "%s: takes no options but --help\n", name.c_str());
  return 2;
}

}  // namespace examples
