#pragma once

// at::Tensor <-> TensorData.
//
// Bytes. A strided, contiguous CPU tensor of a supported dtype is read where it lies: nothing is
// copied. Anything else (other strides, another device, a negated view) costs one copy. The
// elements keep their dtype; the encoder converts them while it writes. Those of uint16, uint32 and
// uint64 become int64, which costs a copy, too.
//
// Threads. Dropping a tensor that Python has seen may take Python's interpreter lock, so no thread
// of the library may hold one. `borrow` holds nothing of the caller's; `share` holds an alias that
// Python has never seen.

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "tinkex/error.h"
#include "tinkex/tensor_data.h"

namespace tinkex::torch_ext {

/// What errors call a tensor: `argument` or `argument[index]`. Made into text only when there is
/// one.
struct TensorName {
  std::string_view argument;
  std::optional<std::size_t> index;

  TensorName(const char* name) : argument(name) {}       // NOLINT(*-explicit-*)
  TensorName(std::string_view name) : argument(name) {}  // NOLINT(*-explicit-*)
  TensorName(std::string_view name, std::size_t i) : argument(name), index(i) {}

  std::string text() const;
};

/// Element type of the library for one of PyTorch's; absent when the library cannot read it.
std::optional<DType> to_dtype(at::ScalarType type) noexcept;
at::ScalarType to_scalar_type(DType dtype) noexcept;
/// For errors: "float32"; of what the library cannot read PyTorch's name, such as "ComplexFloat".
std::string dtype_name(at::ScalarType type);

/// What errors say of a nested tensor, behind its name.
inline constexpr char kNestedTensor[] =
    "is a nested tensor; pass its parts as a list, see unbind()";

/// Whether all elements of a strided tensor with a storage lie in it: the storage may have been
/// resized, as FSDP frees parameters. What does not fit must not be read, nor copied.
bool fits_its_storage(const at::Tensor& tensor);

/// That the elements of `tensor` can be read, whatever their type. Reads none. Errors:
/// kInvalidArgument, as those of `borrow`.
Status check_has_data(const at::Tensor& tensor, TensorName name);

/// The elements of `tensor`, for use while the caller keeps it alive and unchanged. This is the
/// form for an argument of a call. A 2-D sparse CSR tensor becomes a sparse TensorData.
/// `requires_grad` is ignored.
///
/// Errors: kInvalidArgument, beginning with `name`, for an undefined tensor, one without data
/// (meta, fake, batched by vmap), one whose storage is too small, another layout, an unsupported
/// dtype, or indices of a sparse tensor that are none.
Result<TensorData> borrow(const at::Tensor& tensor, TensorName name);
Result<TensorData> borrow(at::Tensor&& tensor, TensorName name) = delete;  // would dangle

/// The same, keeping the tensor's storage alive; for a Datum that outlives the caller's tensor. The
/// caller must not change the elements while the Datum is in use.
Result<TensorData> share(const at::Tensor& tensor, TensorName name);

/// Its shape as LibTorch's; valid as long as `data` lives.
at::IntArrayRef sizes(const TensorData& data);
at::IntArrayRef sizes(TensorData&& data) = delete;  // would dangle

/// A new CPU tensor of the same dtype and shape (sparse CSR if the data is), with one copy.
at::Tensor to_tensor(const TensorData& data);

}  // namespace tinkex::torch_ext
