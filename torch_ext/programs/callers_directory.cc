#include "torch_ext/programs/callers_directory.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace tinkex::torch_ext::programs {

void enter_callers_directory(const char* program) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here sets it
  const char* const directory = std::getenv("BUILD_WORKING_DIRECTORY");
  if (directory == nullptr) return;
  std::error_code problem;
  std::filesystem::current_path(directory, problem);
  if (!problem) return;
  std::fprintf(stderr,
               "%s: cannot enter %s, the directory that bazel was run in (%s); give absolute "
               "paths\n",
               program, directory, problem.message().c_str());
}

}  // namespace tinkex::torch_ext::programs
