#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "tinkex/tensor_data.h"

namespace tinkex::wire {

/// One element in another type. Integers from non-finite values are 0; floats beyond the range of
/// float32 become infinite.
template <class To, class From>
To convert_element(From value) noexcept {
  if constexpr (std::is_same_v<From, BFloat16Bits> || std::is_same_v<From, Float16Bits>) {
    return convert_element<To>(to_float(value));
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    return std::isfinite(value) ? static_cast<To>(value) : To{0};
  } else {
    return static_cast<To>(value);
  }
}

/// The pack functions write all elements to `out` as little-endian words without padding. `out` may
/// have any alignment and must have room for size() words.

void pack_floats(const TensorData& tensor, char* out) noexcept;
void pack_ints(const TensorData& tensor, char* out) noexcept;
/// Narrows to int32. False if an element was outside [0, 2^31): then what was written is no good.
[[nodiscard]] bool pack_tokens(const TensorData& tensor, char* out) noexcept;

/// Writes float32 or int64 words, whichever `wire` says.
void pack(const TensorData& tensor, DType wire, char* out) noexcept;

/// A token that does not fit, with its position.
struct BadToken {
  std::size_t position;
  std::int64_t value;
};
/// The first element outside [0, 2^31). For the error message, after pack_tokens said no.
std::optional<BadToken> find_bad_token(const TensorData& tensor) noexcept;

}  // namespace tinkex::wire
