#include "tinkex/validation/tensor_scan.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <span>
#include <type_traits>

#include "tinkex/base/prefetch.h"
#include "tinkex/base/text.h"

namespace tinkex::internal {
namespace {

/// First element for which `bad_bits` gives anything but 0. Whole blocks are tested with one
/// branch, which compilers turn into vector instructions.
template <class T, class BadBits>
std::optional<std::size_t> find_bad(std::span<const T> values, BadBits bad_bits) noexcept {
  constexpr std::size_t kBlock = 64;
  std::size_t begin = 0;
  for (; begin + kBlock <= values.size(); begin += kBlock) {
    const T* block = values.data() + begin;
    // The arrays of a batch lie apart in memory, and what follows a page later is mostly the next
    // one's: a scan of cold memory is a quarter to a half faster like this.
    prefetch(block, kBlock * sizeof(T), kPageBytes);
    decltype(bad_bits(*block)) bad = 0;
    for (std::size_t i = 0; i < kBlock; ++i) bad |= bad_bits(block[i]);
    if (bad != 0) break;
  }
  for (; begin < values.size(); ++begin) {
    if (bad_bits(values[begin]) != 0) return begin;
  }
  return std::nullopt;
}

/// Tests floating-point values as bit patterns: without the sign they are ordered as integers, so a
/// magnitude above `largest` carries into the sign bit.
template <class T, class Bits>
std::optional<std::size_t> find_above(std::span<const T> values, Bits largest) noexcept {
  constexpr Bits kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  const Bits carry = static_cast<Bits>(kSign - 1 - largest);
  return find_bad(values, [carry](T value) {
    const Bits magnitude = static_cast<Bits>(std::bit_cast<Bits>(value) & (kSign - 1));
    return static_cast<Bits>((magnitude + carry) & kSign);
  });
}

/// Largest float64 that still rounds to a finite float32: just below half a step beyond the
/// maximum.
constexpr std::uint64_t kLargestDouble = std::bit_cast<std::uint64_t>(0x1.ffffffp127) - 1;
constexpr std::uint32_t kLargestFloat = 0x7f7fffff;
constexpr std::uint16_t kLargestBFloat16 = 0x7f7f;
constexpr std::uint16_t kLargestFloat16 = 0x7bff;

/// A value is negative, or it is subtracted from the largest token and the difference is: either
/// shows in the sign bit.
template <class T>
std::optional<std::size_t> not_a_token(std::span<const T> values, std::int64_t limit) noexcept {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  using Signed = std::make_signed_t<Bits>;
  constexpr Bits kSign = Bits{1} << (8 * sizeof(Bits) - 1);
  const Bits largest = static_cast<Bits>(limit - 1);
  return find_bad(values, [largest](T value) {
    const Bits bits = static_cast<Bits>(Signed{value});
    return static_cast<Bits>((bits | (largest - bits)) & kSign);
  });
}

}  // namespace

std::optional<std::size_t> find_not_finite(const TensorData& tensor) noexcept {
  switch (tensor.dtype()) {
    case DType::kFloat32: return find_above(tensor.as<float>(), kLargestFloat);
    case DType::kFloat64: return find_above(tensor.as<double>(), kLargestDouble);
    case DType::kBFloat16: return find_above(tensor.as<BFloat16Bits>(), kLargestBFloat16);
    case DType::kFloat16: return find_above(tensor.as<Float16Bits>(), kLargestFloat16);
    case DType::kInt64:
    case DType::kInt32:
    case DType::kInt16:
    case DType::kInt8:
    case DType::kUInt8:
    case DType::kBool: break;
  }
  return std::nullopt;
}

std::optional<std::size_t> find_not_a_token(const TensorData& tensor, std::int64_t limit) noexcept {
  return visit_elements(tensor, [limit](auto values) -> std::optional<std::size_t> {
    using T = std::remove_cv_t<typename decltype(values)::element_type>;
    if constexpr (std::is_integral_v<T>) return not_a_token(values, limit);
    return std::nullopt;
  });
}

bool holds_integers(const TensorData& tensor) noexcept {
  return !is_floating_point(tensor.dtype()) && tensor.dtype() != DType::kBool;
}

bool is_readable(const TensorData& tensor) noexcept {
  const Shape shape = tensor.shape();
  const bool negative = std::any_of(shape.begin(), shape.end(), [](auto n) { return n < 0; });
  return !negative && (tensor.size() == 0 || tensor.data() != nullptr);
}

std::string element_text(const TensorData& tensor, std::size_t index) {
  return visit_elements(tensor, [index](auto values) {
    const auto value = values[index];
    using T = std::remove_cv_t<decltype(value)>;
    if constexpr (std::is_integral_v<T>) {
      return std::to_string(value);
    } else if constexpr (std::is_floating_point_v<T>) {
      return number_text(value);
    } else {
      return number_text(to_float(value));
    }
  });
}

}  // namespace tinkex::internal
