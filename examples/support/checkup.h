#pragma once

#include <span>
#include <string>

#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "tinkex/outputs.h"

namespace sft {

enum class Health {
  kSound,
  kRuined,   ///< What it computes is not finite.
  kUnknown,  ///< It was not computed, or not told.
};

/// What is known of a model, and why it is not sound.
struct Checkup {
  Health health = Health::kSound;
  std::string why;
};

/// Judges a model by a forward pass over `data`. `embedded`: by the embedded backend, which refuses
/// a pass that is not finite.
Checkup examine(const tinkex::Result<tinkex::ForwardBackwardOutput>& pass,
                std::span<const tinkex::Datum> data, bool embedded);

}  // namespace sft
