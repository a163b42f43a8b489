#pragma once

#include <cstddef>
#include <optional>

#include "tinkex/error.h"
#include "tinkex/model_input.h"
#include "tinkex/validation/problems.h"

namespace tinkex::internal {

/// Checks what a model is to read: not empty, tokens 1-D integers in [0, 2^31), images with data
/// and a known format. `datum` is the index to name, if there is one.
void check_prompt(const ModelInput& prompt, std::optional<std::size_t> datum, Problems& problems);

/// The same for a single prompt.
Status validate_prompt(const ModelInput& prompt);

}  // namespace tinkex::internal
