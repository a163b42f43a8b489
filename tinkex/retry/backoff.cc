#include "tinkex/retry/backoff.h"

#include <algorithm>
#include <cmath>

namespace tinkex::internal {

std::chrono::milliseconds backoff_delay(int n, std::chrono::milliseconds initial,
                                        std::chrono::milliseconds max, RandomSource& random) {
  const double doubled = std::ldexp(static_cast<double>(initial.count()), std::clamp(n, 0, 60));
  const double capped = std::min(doubled, static_cast<double>(max.count()));
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(capped * (1.0 - 0.25 * random.uniform())));
}

}  // namespace tinkex::internal
