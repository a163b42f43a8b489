#pragma once

#include <cstdint>

namespace sft {

/// A learning rate that rises linearly over the first tenth of the run, 50 steps at most, and then
/// falls along a cosine to a twentieth of its peak.
struct Schedule {
  double peak = 0;
  std::int64_t steps = 0;

  /// `step` counts from 0.
  double learning_rate(std::int64_t step) const;
};

/// Steps between two checkpoints: `asked`, or, if that is 0, a tenth of the run and at least 5.
std::int64_t save_interval(std::int64_t asked, std::int64_t steps);

}  // namespace sft
