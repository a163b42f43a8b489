#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <ranges>
#include <span>

namespace tinkex {

/// The extents of an array: a view, as PyTorch's IntArrayRef, made from any contiguous range of
/// int64 or a list in braces.
///
/// Ownership: none. What it refers to must outlive it, so it is for arguments and for a look at
/// TensorData::shape(); `std::vector<std::int64_t>(shape.begin(), shape.end())` keeps the extents.
/// A variable of this type, or of `auto`, must not be made from a list in braces, nor from the
/// shape() of a TensorData that ends with the statement.
class Shape : public std::span<const std::int64_t> {
 public:
  /// That of std::span comes with C++23; libraries for containers ask for it, such as GoogleMock.
  using const_iterator = iterator;

  using span::span;
  Shape(std::span<const std::int64_t> extents) noexcept : span(extents) {}  // NOLINT(*-explicit-*)
  Shape(std::initializer_list<std::int64_t> extents) noexcept
      : span(extents.begin(), extents.size()) {}

  /// The shape of one element of the first dimension; empty where there is none.
  Shape trailing() const noexcept { return empty() ? *this : Shape(subspan(1)); }

  /// By the extents, with any contiguous range of them.
  template <class Extents>
  requires std::convertible_to<const Extents&, std::span<const std::int64_t>>
  friend bool operator==(Shape shape, const Extents& other) noexcept {
    return std::ranges::equal(shape, std::span<const std::int64_t>(other));
  }
};

}  // namespace tinkex

/// As of std::span itself: iterators into a shape stay valid when it is gone.
template <>
inline constexpr bool std::ranges::enable_borrowed_range<tinkex::Shape> = true;
template <>
inline constexpr bool std::ranges::enable_view<tinkex::Shape> = true;
