#pragma once

#include <optional>
#include <string>

namespace tinkex::internal {

/// Value of an environment variable; an empty one counts as unset. The only place that reads the
/// environment.
std::optional<std::string> read_env(const char* name);

}  // namespace tinkex::internal
