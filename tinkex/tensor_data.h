#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/shape.h"

namespace tinkex {

/// Element types that the library can read from memory. On the wire there are only int64 and
/// float32 (and int32 for prompt tokens); the encoder converts while it writes.
enum class DType : std::uint8_t {
  kFloat32,
  kFloat64,
  kBFloat16,
  kFloat16,
  kInt64,
  kInt32,
  kInt16,
  kInt8,
  kUInt8,
  kBool,
};

/// Bytes of one element.
std::size_t size_of(DType dtype) noexcept;
/// `float32`, `int64`, ... as the API and PyTorch spell them.
std::string_view to_string(DType dtype) noexcept;
constexpr bool is_floating_point(DType dtype) noexcept { return dtype <= DType::kFloat16; }

/// A dense array (or a 2-D sparse CSR one) with a shape: contiguous, row-major, host memory.
///
/// Ownership: holds the bytes through `owner`, or only refers to them when it was made by `view`
/// (then they must live until the call that takes the TensorData has returned; nothing keeps a
/// reference longer). Copying is cheap and shares the bytes, which nobody changes.
class TensorData {
 public:
  /// Empty: float32, shape [0].
  TensorData() = default;

  /// Takes over a vector. Without a shape the array is 1-D. These three throw Error
  /// (kInvalidArgument) if the shape has a negative size or does not fit the number of values.
  static TensorData from(std::vector<float> values, Shape shape = {});
  static TensorData from(std::vector<std::int64_t> values, Shape shape = {});
  static TensorData from(std::vector<std::int32_t> values, Shape shape = {});

  /// Refers to memory owned elsewhere. `shape` says how many elements there are; throws Error if it
  /// has a negative size or their number overflows.
  static TensorData view(const void* data, DType dtype, Shape shape);
  /// The same, kept alive by `owner`.
  static TensorData share(std::shared_ptr<const void> owner, const void* data, DType dtype,
                          Shape shape);

  /// A 2-D sparse array of dense shape `shape`: `values` (nnz) with int64 row starts (rows + 1)
  /// and columns (nnz). Absent entries are 0.
  static Result<TensorData> sparse_csr(TensorData values, std::vector<std::int64_t> crow_indices,
                                       std::vector<std::int64_t> col_indices, Shape shape);

  DType dtype() const noexcept { return dtype_; }
  /// Valid as long as this object lives and is neither assigned to nor moved from.
  Shape shape() const noexcept {
    if (more_ != nullptr && !more_->extents.empty()) return more_->extents;
    return {extents_.data(), rank_};
  }
  /// Stored elements: product of the shape, or nnz when sparse.
  std::size_t size() const noexcept { return size_; }
  const std::byte* data() const noexcept { return data_; }
  std::size_t size_bytes() const noexcept { return size_ * size_of(dtype_); }

  bool is_sparse() const noexcept { return more_ != nullptr && !more_->crow.empty(); }
  /// Only when is_sparse().
  std::span<const std::int64_t> crow_indices() const noexcept;
  std::span<const std::int64_t> col_indices() const noexcept;

  /// The elements as T, which must be the type that dtype() names.
  template <class T>
  std::span<const T> as() const noexcept {
    return {reinterpret_cast<const T*>(data_), size_};
  }

  /// Converted copies. Integers beyond 2^24 lose digits as float32. As an integer,
  /// NaN becomes 0, and what is beyond int64 its nearest end.
  std::vector<float> to_floats() const;
  std::vector<std::int64_t> to_ints() const;
  /// The same into memory with room for size() elements.
  void copy_to(float* out) const;
  void copy_to(std::int64_t* out) const;

 private:
  /// A batch has thousands of arrays, nearly all with one or two extents, which therefore lie in
  /// the object: making and dropping one allocates nothing.
  static constexpr std::size_t kExtents = 2;

  /// What few arrays have.
  struct More {
    std::vector<std::int64_t> extents;  ///< If there are more than kExtents.
    std::vector<std::int64_t> crow;     ///< Of sparse ones, which have one row start at least.
    std::vector<std::int64_t> col;
  };

  void set_extents(Shape shape) noexcept;

  DType dtype_ = DType::kFloat32;
  std::uint8_t rank_ = 1;  ///< How many of extents_ count.
  std::size_t size_ = 0;
  const std::byte* data_ = nullptr;
  std::array<std::int64_t, kExtents> extents_{};
  std::shared_ptr<const void> owner_;
  std::shared_ptr<const More> more_;
};

/// One 16-bit pattern.
struct BFloat16Bits {
  std::uint16_t bits;
};
/// One 16-bit pattern.
struct Float16Bits {
  std::uint16_t bits;
};

/// Exact widening of the 16-bit floating-point formats.
float to_float(BFloat16Bits value) noexcept;
float to_float(Float16Bits value) noexcept;

/// Calls `visit(span<const T>)` with the elements in their own type. bfloat16 and float16 arrive
/// as the tag types above.
template <class Visitor>
decltype(auto) visit_elements(const TensorData& tensor, Visitor&& visit) {
  switch (tensor.dtype()) {
    case DType::kFloat32: return visit(tensor.as<float>());
    case DType::kFloat64: return visit(tensor.as<double>());
    case DType::kBFloat16: return visit(tensor.as<BFloat16Bits>());
    case DType::kFloat16: return visit(tensor.as<Float16Bits>());
    case DType::kInt64: return visit(tensor.as<std::int64_t>());
    case DType::kInt32: return visit(tensor.as<std::int32_t>());
    case DType::kInt16: return visit(tensor.as<std::int16_t>());
    case DType::kInt8: return visit(tensor.as<std::int8_t>());
    case DType::kUInt8:
    case DType::kBool: break;
  }
  return visit(tensor.as<std::uint8_t>());
}

}  // namespace tinkex
