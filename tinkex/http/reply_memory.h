#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "tinkex/base/recycled_memory.h"

namespace tinkex::internal {

/// Memory of large replies that were read, for the next ones. Thread-safe.
class ReplyMemory {
 public:
  /// An empty string that holds `capacity` bytes without growing.
  std::string take(std::size_t capacity) {
    std::string memory;
    if (capacity >= kLeast) memory = idle_.take(capacity);
    memory.reserve(capacity);
    return memory;
  }

  void give_back(std::string memory) noexcept {
    if (memory.capacity() >= kLeast) idle_.give_back(std::move(memory));
  }

 private:
  // malloc is as fast for small ones, which would only crowd out the large.
  static constexpr std::size_t kLeast = 64 * 1024;
  static constexpr std::size_t kMostRetained = std::size_t{32} << 20;

  RecycledMemory<std::string> idle_{kMostRetained};
};

}  // namespace tinkex::internal
