#pragma once

#include <span>
#include <string_view>

#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "tinkex/params.h"

namespace tinkex::internal {

/// Checks a batch before anything is sent: it is not empty, every datum's prompt can be read, and,
/// for the API's own losses, every datum has the inputs that the loss needs and no others, with
/// integer targets, one row per prompt token (where the length is known), all inputs of the shape
/// of `target_tokens`, and no NaN or infinity in inputs or settings. Inputs and settings of other
/// losses pass: only the server knows them.
///
/// Everything that is wrong is reported in one kInvalidArgument, by datum index and input name.
/// Reads every element once; no copy. Thread-safe.
Status validate_batch(std::span<const Datum> data, std::string_view loss_fn,
                      const LossConfig& config);

}  // namespace tinkex::internal
