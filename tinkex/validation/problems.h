#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "tinkex/validate.h"

namespace tinkex::internal {

/// Where in the caller's input something is wrong.
struct Place {
  std::optional<std::size_t> datum;  ///< Index in the batch; absent outside a batch.
  std::string_view field;
};

/// Collects everything that is wrong with an input, so that the caller hears of it at once.
class Problems {
 public:
  explicit Problems(std::size_t max_told = ValidationOptions{}.max_problems)
      : max_told_(max_told) {}

  void add(const Place& place, std::string_view expected, std::string_view actual,
           std::string_view remedy);

  Status status() const { return list_.status(); }
  ProblemList take() && { return std::move(list_); }

 private:
  const std::size_t max_told_;
  ProblemList list_;
};

}  // namespace tinkex::internal
