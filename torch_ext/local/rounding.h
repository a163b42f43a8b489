#pragma once

#include <cstdint>

namespace tinkex::torch_ext::local {

/// Of how many pieces of `unit` `size` consists; the last may be smaller.
constexpr std::int64_t pieces_of(std::int64_t size, std::int64_t unit) {
  return (size + unit - 1) / unit;
}

constexpr std::int64_t rounded_up(std::int64_t size, std::int64_t unit) {
  return pieces_of(size, unit) * unit;
}

}  // namespace tinkex::torch_ext::local
