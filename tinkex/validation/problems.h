#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"

namespace tinkex::internal {

/// Where in the caller's input something is wrong.
struct Place {
  std::optional<std::size_t> datum;  ///< Index in the batch; absent outside a batch.
  std::string_view field;
};

/// Collects everything that is wrong with an input, so that the caller hears of it at once. The
/// first ten are told, the rest counted.
class Problems {
 public:
  static constexpr std::size_t kMaxTold = 10;

  /// "datum 3, field: expected X, got Y; remedy".
  void add(const Place& place, std::string_view expected, std::string_view got,
           std::string_view remedy);

  bool empty() const noexcept { return count_ == 0; }
  /// kInvalidArgument with all of them in one line, or success if there are none.
  Status status() const;

 private:
  std::size_t count_ = 0;
  std::vector<std::string> told_;
};

}  // namespace tinkex::internal
