#pragma once

#include <cstdint>

#include "tinkex/model_input.h"
#include "tinkex/validate.h"
#include "tinkex/validation/problems.h"
#include "tinkex/validation/tensor_scan.h"

namespace tinkex::internal {

/// What holds for the tokens and images of one call.
struct PromptRules {
  std::int64_t token_limit = kTokenLimit;  ///< Tokens are below it.
  bool image_pointers = true;              ///< Whether the encoding has a form for them.

  /// "token ids in [0, 32000)".
  std::string expected_tokens() const;
};

/// The rules that follow from the caller's options, which are checked themselves.
PromptRules prompt_rules(const ValidationOptions& options, Problems& problems);

/// Checks what a model is to read: not empty, tokens 1-D integers in range, images with the data
/// that their format promises. `place` is the argument to name.
void check_prompt(const ModelInput& prompt, const Place& place, const PromptRules& rules,
                  Problems& problems);

}  // namespace tinkex::internal
