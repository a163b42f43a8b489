#include "tinkex/config/env.h"

#include <cstdlib>

namespace tinkex::internal {

std::optional<std::string> read_env(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here sets it
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

}  // namespace tinkex::internal
