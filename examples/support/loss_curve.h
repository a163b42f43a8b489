#pragma once

#include <string>
#include <vector>

#include "examples/support/metrics_log.h"

namespace sft {

/// The losses as an SVG picture: every step in a light line, their moving average in a dark one,
/// with axes; of a long run the light line is of means, and a short one has one line. A text above
/// says which it is. `title` stands over that.
std::string draw_loss_curve(const std::vector<LossPoint>& losses, const std::string& title);

}  // namespace sft
