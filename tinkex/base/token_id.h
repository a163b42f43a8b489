#pragma once

#include <cstdint>

namespace tinkex::internal {

/// Token ids are below this: they are 32-bit integers on the wire.
inline constexpr std::int64_t kTokenLimit = std::int64_t{1} << 31;

constexpr bool is_token_id(std::int64_t id) noexcept { return id >= 0 && id < kTokenLimit; }

}  // namespace tinkex::internal
