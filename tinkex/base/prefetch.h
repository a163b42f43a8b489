#pragma once

#include <cstddef>
#include <cstdint>

namespace tinkex::internal {

/// After so many bytes the processor's own prefetching begins anew: the next page may lie anywhere.
inline constexpr std::size_t kPageBytes = 4096;
/// What the processor fetches at a time.
inline constexpr std::size_t kLineBytes = 64;

/// Asks the processor for memory that is read soon: for `bytes` of it, from `ahead` bytes behind
/// `begin` on. None of it need exist: nothing is read here, and no address faults. Where it does
/// not begin with a line, its last may be left out.
///
/// What it asks for goes to the second-level cache. The first has few requests under way at a time,
/// and whoever asks for more waits: on a Zen 4, arrays of a few kilobytes that lie apart are read
/// in half the time like this, and as slowly as without when they are asked for to the first level.
inline void prefetch(const void* begin, std::size_t bytes, std::size_t ahead = 0) noexcept {
  constexpr int kForReading = 0;
  constexpr int kSecondLevel = 2;
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(begin) + ahead;
  for (std::size_t line = 0; line < bytes; line += kLineBytes) {
    __builtin_prefetch(reinterpret_cast<const void*>(address + line), kForReading, kSecondLevel);
  }
  // GCC takes a function that does no more than this for one without effect, and drops its calls.
  asm volatile("");
}

/// The same for an object, wherever it begins.
template <class T>
void prefetch_object(const T* object) noexcept {
  prefetch(object, sizeof(T) + kLineBytes - 1);
}

}  // namespace tinkex::internal
