#pragma once

#include <chrono>

#include "tinkex/base/random.h"

namespace tinkex::internal {

/// Pause before repeat number `n` (0 for the first): `initial` doubled n times, at most `max`, with
/// up to a quarter taken off at random so that clients that failed together do not return together.
std::chrono::milliseconds backoff_delay(int n, std::chrono::milliseconds initial,
                                        std::chrono::milliseconds max, RandomSource& random);

}  // namespace tinkex::internal
