#pragma once

#include <cstddef>

namespace tinkex::fuzz {

/// How much memory the current thread takes through operator new while the object lives. The
/// binary's operator new and delete are replaced to count. One at a time per thread.
class AllocationMeter {
 public:
  AllocationMeter() noexcept;

  /// The most bytes that were held at once, beyond what was held at the start.
  std::size_t peak() const noexcept;
  /// The bytes that were taken, given back or not: what is copied again and again shows here.
  std::size_t total() const noexcept;
};

}  // namespace tinkex::fuzz
