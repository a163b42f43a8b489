#include "torch_ext/programs/callers_directory.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace tinkex::torch_ext::programs {

bool enter_callers_directory() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here sets it
  const char* const directory = std::getenv("BUILD_WORKING_DIRECTORY");
  std::error_code problem;
  if (directory != nullptr) std::filesystem::current_path(directory, problem);
  return !problem;
}

}  // namespace tinkex::torch_ext::programs
