#pragma once

#include <optional>
#include <utility>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// The first of several errors, so that a reader reads everything and then asks once.
class FirstError {
 public:
  /// The value, or an empty one where there is an error.
  template <class T>
  T take(Result<T> result) {
    if (result) return *std::move(result);
    add(std::move(result).error());
    return T{};
  }
  void add(Error error) {
    if (!error_) error_ = std::move(error);
  }

  explicit operator bool() const noexcept { return error_.has_value(); }
  /// Only if there is one.
  const Error& operator*() const noexcept { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace tinkex::torch_ext::local
