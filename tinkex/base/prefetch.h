#pragma once

#include <cstddef>
#include <cstdint>

namespace tinkex::internal {

/// After so many bytes the processor's own prefetching begins anew: the next page may lie anywhere.
inline constexpr std::size_t kPageBytes = 4096;

/// Asks the processor for memory that is read soon. `begin` and what follows need not exist:
/// nothing is read here, and no address faults.
///
/// What it asks for goes to the second-level cache. The first has few requests under way at a time,
/// and whoever asks for more waits: on a Zen 4, arrays of a few kilobytes that lie apart are read
/// in half the time like this, and as slowly as without when they are asked for to the first level.
inline void prefetch(const void* begin, std::size_t bytes) noexcept {
  constexpr std::size_t kLine = 64;
  constexpr int kForReading = 0;
  constexpr int kSecondLevel = 2;
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  for (std::uintptr_t line = address - address % kLine; line < address + bytes; line += kLine) {
    __builtin_prefetch(reinterpret_cast<const void*>(line), kForReading, kSecondLevel);
  }
  // GCC takes a function that does no more than this for one without effect, and drops its calls.
  asm volatile("");
}

}  // namespace tinkex::internal
