#pragma once

#include <string>
#include <vector>

#include "examples/support/metrics_log.h"

namespace sft {

/// The losses as an SVG picture: every step in a light line, their moving average in a dark one,
/// with axes. `title` stands above it.
std::string draw_loss_curve(const std::vector<LossPoint>& losses, const std::string& title);

}  // namespace sft
