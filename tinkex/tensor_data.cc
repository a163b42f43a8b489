#include "tinkex/tensor_data.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "tinkex/base/shape.h"

namespace tinkex {
namespace {

using internal::shape_text;

std::size_t count_elements(Shape shape) {
  const std::optional<std::size_t> count = internal::element_count(shape);
  if (count) return *count;
  throw invalid_argument("TensorData: the shape " + shape_text(shape) +
                         " has a negative size, or more elements than can be counted");
}

template <class T>
TensorData own(std::vector<T> values, DType dtype, Shape shape) {
  const auto length = static_cast<std::int64_t>(values.size());
  if (shape.empty()) shape = Shape(&length, 1);
  if (count_elements(shape) != values.size()) {
    throw invalid_argument("TensorData: the shape " + shape_text(shape) + " does not fit " +
                           std::to_string(values.size()) + " values");
  }
  auto owner = std::make_shared<const std::vector<T>>(std::move(values));
  const void* data = owner->data();
  return TensorData::share(std::move(owner), data, dtype, shape);
}

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<From, BFloat16Bits> || std::is_same_v<From, Float16Bits>) {
    return convert<To>(to_float(value));
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    // Compared in the floating type, where the end of the range is a power of two.
    constexpr To kHalf = std::numeric_limits<To>::max() / 2 + 1;
    constexpr From kEnd = static_cast<From>(kHalf) * 2;
    if (std::isnan(value)) return To{0};
    if (value >= kEnd) return std::numeric_limits<To>::max();
    if (value < -kEnd) return std::numeric_limits<To>::min();
    return static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

template <class To>
void convert_all(const TensorData& tensor, To* out) {
  visit_elements(tensor, [out]<class From>(std::span<const From> values) {
    if constexpr (std::is_same_v<From, To>) {
      std::copy(values.begin(), values.end(), out);  // which is memmove
    } else {
      std::transform(values.begin(), values.end(), out, convert<To, From>);
    }
  });
}

template <class To>
std::vector<To> converted(const TensorData& tensor) {
  std::vector<To> out(tensor.size());
  convert_all(tensor, out.data());
  return out;
}

}  // namespace

std::size_t size_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::kFloat64:
    case DType::kInt64: return 8;
    case DType::kFloat32:
    case DType::kInt32: return 4;
    case DType::kBFloat16:
    case DType::kFloat16:
    case DType::kInt16: return 2;
    case DType::kInt8:
    case DType::kUInt8:
    case DType::kBool: return 1;
  }
  return 1;
}

std::string_view to_string(DType dtype) noexcept {
  switch (dtype) {
    case DType::kFloat32: return "float32";
    case DType::kFloat64: return "float64";
    case DType::kBFloat16: return "bfloat16";
    case DType::kFloat16: return "float16";
    case DType::kInt64: return "int64";
    case DType::kInt32: return "int32";
    case DType::kInt16: return "int16";
    case DType::kInt8: return "int8";
    case DType::kUInt8: return "uint8";
    case DType::kBool: return "bool";
  }
  return "unknown";
}

float to_float(BFloat16Bits value) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

float to_float(Float16Bits value) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = value.bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t widened = exponent == 0x1f ? 0xffu : exponent + 112;
  return std::bit_cast<float>(sign | (widened << 23) | (mantissa << 13));
}

TensorData TensorData::from(std::vector<float> values, Shape shape) {
  return own(std::move(values), DType::kFloat32, shape);
}

TensorData TensorData::from(std::vector<std::int64_t> values, Shape shape) {
  return own(std::move(values), DType::kInt64, shape);
}

TensorData TensorData::from(std::vector<std::int32_t> values, Shape shape) {
  return own(std::move(values), DType::kInt32, shape);
}

TensorData TensorData::view(const void* data, DType dtype, Shape shape) {
  return share(nullptr, data, dtype, shape);
}

TensorData TensorData::share(std::shared_ptr<const void> owner, const void* data, DType dtype,
                             Shape shape) {
  TensorData tensor;
  tensor.dtype_ = dtype;
  tensor.size_ = count_elements(shape);
  tensor.data_ = static_cast<const std::byte*>(data);
  if (shape.size() <= kExtents) {
    tensor.set_extents(shape);
  } else {
    tensor.rank_ = 0;
    tensor.more_ = std::make_shared<const More>(More{{shape.begin(), shape.end()}, {}, {}});
  }
  tensor.owner_ = std::move(owner);
  return tensor;
}

Result<TensorData> TensorData::sparse_csr(TensorData values, std::vector<std::int64_t> crow_indices,
                                          std::vector<std::int64_t> col_indices, Shape shape) {
  const auto fail = [](std::string what) {
    return invalid_argument("sparse CSR tensor: " + std::move(what));
  };
  if (shape.size() != 2 || shape[0] < 0 || shape[1] < 0) {
    return fail("the dense shape must have 2 dimensions");
  }
  if (crow_indices.size() != static_cast<std::size_t>(shape[0]) + 1) {
    return fail("crow_indices has " + std::to_string(crow_indices.size()) + " entries, expected " +
                std::to_string(shape[0] + 1) + " (rows + 1)");
  }
  if (col_indices.size() != values.size()) {
    return fail("col_indices has " + std::to_string(col_indices.size()) +
                " entries but there are " + std::to_string(values.size()) + " values");
  }
  if (crow_indices.front() != 0 ||
      crow_indices.back() != static_cast<std::int64_t>(values.size())) {
    return fail("crow_indices must begin with 0 and end with the number of values");
  }
  for (std::size_t row = 1; row < crow_indices.size(); ++row) {
    if (crow_indices[row] < crow_indices[row - 1]) return fail("crow_indices must not decrease");
  }
  for (const std::int64_t column : col_indices) {
    if (column < 0 || column >= shape[1]) {
      return fail("column " + std::to_string(column) + " is outside [0, " +
                  std::to_string(shape[1]) + ")");
    }
  }
  TensorData tensor = std::move(values);
  tensor.set_extents(shape);
  tensor.more_ =
      std::make_shared<const More>(More{{}, std::move(crow_indices), std::move(col_indices)});
  return tensor;
}

void TensorData::set_extents(Shape shape) noexcept {
  rank_ = static_cast<std::uint8_t>(shape.size());
  std::ranges::copy(shape, extents_.begin());
}

std::span<const std::int64_t> TensorData::crow_indices() const noexcept {
  return more_ ? std::span<const std::int64_t>(more_->crow) : std::span<const std::int64_t>();
}

std::span<const std::int64_t> TensorData::col_indices() const noexcept {
  return more_ ? std::span<const std::int64_t>(more_->col) : std::span<const std::int64_t>();
}

std::vector<float> TensorData::to_floats() const { return converted<float>(*this); }
std::vector<std::int64_t> TensorData::to_ints() const { return converted<std::int64_t>(*this); }
void TensorData::copy_to(float* out) const { convert_all(*this, out); }
void TensorData::copy_to(std::int64_t* out) const { convert_all(*this, out); }

}  // namespace tinkex
