#pragma once

#include <optional>
#include <string>

#include "tinkex/transport.h"

namespace tinkex::internal {

/// A server's answer to a submission: the id of a future, or the result itself.
struct Accepted {
  std::string request_id;
  std::optional<HttpResponse> immediate;
};

}  // namespace tinkex::internal
