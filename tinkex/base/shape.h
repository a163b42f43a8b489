#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace tinkex::internal {

/// Number of elements of an array of that shape; nullopt if an extent is negative, or the product
/// of those that are not 0 overflows.
std::optional<std::size_t> element_count(std::span<const std::int64_t> shape) noexcept;

/// `[2, 3]`. Only the first 16 extents of a longer shape are written out.
std::string shape_text(std::span<const std::int64_t> shape);

}  // namespace tinkex::internal
