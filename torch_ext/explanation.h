#pragma once

// How a call of a remote model would travel.

#include <cstddef>
#include <string>
#include <vector>

#include "tinkex/batch_plan.h"

namespace tinkex::torch_ext {

/// One pass over a batch: a call, and the chunks in which it is sent, each a request.
struct ExplainedPass {
  std::string call;
  BatchPlan plan;
};

/// How a call would travel.
struct Explanation {
  std::vector<ExplainedPass> passes;  ///< In the order in which they are sent.

  std::size_t requests() const;
  std::size_t bytes() const;  ///< Estimated.
  /// A few lines for people.
  std::string text() const;
};

}  // namespace tinkex::torch_ext
