#include "examples/support/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sft {

double Schedule::learning_rate(std::int64_t step) const {
  constexpr double kFloor = 0.05;
  const std::int64_t warmup = std::min<std::int64_t>(50, steps / 10);
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double done = static_cast<double>(step - warmup) /
                      static_cast<double>(std::max<std::int64_t>(1, steps - warmup));
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * std::min(done, 1.0)));
  return peak * (kFloor + (1 - kFloor) * cosine);
}

std::int64_t save_interval(std::int64_t asked, std::int64_t steps) {
  return asked > 0 ? asked : std::max<std::int64_t>(5, steps / 10);
}

}  // namespace sft
