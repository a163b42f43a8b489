#pragma once

#include <string>
#include <utility>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// The caller's mistake: kInvalidArgument of category user.
inline Error refuse(std::string message) {
  return invalid_argument(std::move(message)).with_category(ErrorCategory::kUser);
}

/// What a check of the caller's input found, as the caller's mistake.
inline Status refuse_unless(Status valid) {
  if (valid) return valid;
  return Error(valid.error()).with_category(ErrorCategory::kUser);
}

}  // namespace tinkex::torch_ext::local
