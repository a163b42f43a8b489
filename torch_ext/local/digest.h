#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tinkex::torch_ext::local {

/// The 64-bit XXH64 hash of `bytes`. It notices damage and tells weights apart; it is no
/// protection against somebody who wants two inputs to collide.
std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept;

/// Sixteen lower-case hexadecimal digits.
std::string to_hex(std::uint64_t value);

}  // namespace tinkex::torch_ext::local
