#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "torch_ext/local/api.h"

namespace tinkex::torch_ext::local {

/// The path below `/api/v1/`, cut at its slashes and percent-decoded, and the query.
struct RequestTarget {
  std::vector<std::string> segments;
  TextMap query;
};

/// nullopt if `target` has no `/api/v1/` or a broken escape.
std::optional<RequestTarget> parse_target(std::string_view target);

/// Whether the segments fit a route's path; its parameters are added to `parameters`.
bool matches(std::string_view pattern, const std::vector<std::string>& segments,
             TextMap& parameters);

}  // namespace tinkex::torch_ext::local
