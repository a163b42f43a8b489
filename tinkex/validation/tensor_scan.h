#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tinkex/base/token_id.h"
#include "tinkex/tensor_data.h"

namespace tinkex::internal {

/// Index of the first stored element that is not a finite float32: NaN, an infinity, or a float64
/// that would round to one. Integers are always finite. Reads at about the speed of memory.
std::optional<std::size_t> find_not_finite(const TensorData& tensor) noexcept;

/// Index of the first stored element outside [0, limit), where 0 < limit <= 2^31. The tensor must
/// hold integers. Reads at about the speed of memory.
std::optional<std::size_t> find_not_a_token(const TensorData& tensor,
                                            std::int64_t limit = kTokenLimit) noexcept;

/// Integer type that can hold token ids.
bool holds_integers(const TensorData& tensor) noexcept;

/// Whether the elements can be read and no extent is negative.
bool is_readable(const TensorData& tensor) noexcept;

std::string element_text(const TensorData& tensor, std::size_t index);

}  // namespace tinkex::internal
