#include "tinkex/base/shape.h"

namespace tinkex::internal {

std::optional<std::size_t> element_count(std::span<const std::int64_t> shape) noexcept {
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    empty = empty || extent == 0;
    // Of an empty array, too: strides are products of the other extents.
    if (extent > 0 && __builtin_mul_overflow(count, extent, &count)) return std::nullopt;
  }
  return empty ? 0 : static_cast<std::size_t>(count);
}

std::string shape_text(std::span<const std::int64_t> shape) {
  constexpr std::size_t kShown = 16;
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size() && i < kShown; ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + (shape.size() > kShown ? ", ...]" : "]");
}

}  // namespace tinkex::internal
