#include "torch_ext/tensor_convert.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/min.h>
#include <ATen/ops/sparse_csr_tensor.h>
#include <torch/version.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tinkex::torch_ext {
namespace {

Error refused(TensorName name, const std::string& why) {
  return invalid_argument(name.text() + " " + why);
}

/// Whether it is an unsigned type that the library has no name for. They came with LibTorch 2.3.
bool is_wide_unsigned(at::ScalarType type) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
  return type == at::kUInt16 || type == at::kUInt32 || type == at::kUInt64;
#else
  static_cast<void>(type);
  return false;
#endif
}

/// How far into the storage the elements reach, in bytes.
std::size_t bytes_needed(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return 0;
  return at::detail::computeStorageNbytes(tensor.sizes(), tensor.strides(), tensor.element_size(),
                                          static_cast<std::size_t>(tensor.storage_offset()));
}

std::string reason_without_memory(const at::Tensor& tensor) {
  if (fits_its_storage(tensor)) return {};
  return "needs " + std::to_string(bytes_needed(tensor)) + " bytes of a storage that has " +
         std::to_string(tensor.storage().nbytes()) + ": it was resized or freed";
}

/// Why the tensor's elements cannot be read, or an empty text.
std::string reason_without_data(const at::Tensor& tensor) {
  if (!tensor.defined())
    return "is undefined, as a default-constructed tensor is; give one with data";
  const c10::DispatchKeySet keys = tensor.unsafeGetTensorImpl()->key_set();
  if (tensor.is_meta() || keys.has(c10::DispatchKey::Python)) {
    return "holds no data (it is a meta or fake tensor, as torch.compile and torch.export use "
           "while they trace); give a tensor with data, and call remote operations outside of the "
           "traced function";
  }
  if (tensor.is_nested()) return kNestedTensor;
  const bool has_storage = tensor.has_storage() || tensor.layout() == c10::kSparseCsr;
  if (tensor.layout() == c10::kStrided && !has_storage) {
    return "holds no data of its own (is it batched by vmap, or inside a functorch transform?)";
  }
  if (tensor.layout() == c10::kStrided) return reason_without_memory(tensor);
  return {};
}

/// Contiguous, on the CPU, materialised: the tensor itself where it is so already.
at::Tensor on_host(const at::Tensor& tensor) {
  at::Tensor host = tensor.is_neg() ? tensor.resolve_neg() : tensor;
  if (!host.is_cpu()) host = host.to(c10::kCPU);
  return host.contiguous();
}

std::shared_ptr<const void> keep(at::Tensor tensor) {
  return std::make_shared<const at::Tensor>(std::move(tensor));
}

bool readable_in_place(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.is_contiguous() && !tensor.is_neg();
}

enum class Hold { kNothing, kStorage };

/// A copy as int64.
Result<TensorData> widened(const at::Tensor& tensor, TensorName name) {
  at::Tensor wide = on_host(tensor.detach()).to(at::kLong);
  // Only those of uint64 can be negative now.
  if (wide.numel() > 0 && at::min(wide).item<std::int64_t>() < 0) {
    return refused(name,
                   "has an element beyond 2^63 - 1, the most that is sent of uint64; replace "
                   "it, or view it as int64 if it stands for a negative number");
  }
  const void* data = wide.data_ptr();
  return TensorData::share(keep(std::move(wide)), data, DType::kInt64, tensor.sizes());
}

Result<TensorData> dense(const at::Tensor& tensor, TensorName name, Hold hold) {
  if (is_wide_unsigned(tensor.scalar_type())) return widened(tensor, name);
  const std::optional<DType> dtype = to_dtype(tensor.scalar_type());
  if (!dtype) {
    return refused(name, "has dtype " + dtype_name(tensor.scalar_type()) +
                             ", expected a real number type, such as float32, float64, bfloat16, "
                             "float16, int64, int32, int16, int8, uint8 or bool; convert it with "
                             ".to(...)");
  }
  if (hold == Hold::kNothing && readable_in_place(tensor)) {
    return TensorData::view(tensor.data_ptr(), *dtype, tensor.sizes());
  }
  // detach: a tensor object of our own, without Python's wrapper, over the same storage.
  at::Tensor host = on_host(tensor.detach());
  const void* data = host.data_ptr();
  return TensorData::share(keep(std::move(host)), data, *dtype, tensor.sizes());
}

std::vector<std::int64_t> index_vector(const at::Tensor& indices) {
  const at::Tensor host = on_host(indices.to(at::kLong));
  const auto* begin = host.data_ptr<std::int64_t>();
  return {begin, begin + host.numel()};
}

/// That the parts of a sparse CSR tensor, which are tensors themselves, can be read.
Status check_parts(const at::Tensor& tensor, TensorName name) {
  const auto check = [&](const at::Tensor& part, const char* which) {
    const std::string label = name.text() + "." + which + "()";
    return check_has_data(part, TensorName(std::string_view(label)));
  };
  if (Status values = check(tensor.values(), "values"); !values) return values;
  if (Status rows = check(tensor.crow_indices(), "crow_indices"); !rows) return rows;
  return check(tensor.col_indices(), "col_indices");
}

Result<TensorData> sparse(const at::Tensor& tensor, TensorName name, Hold hold) {
  if (tensor.dim() != 2) {
    return refused(name, "is sparse CSR with " + std::to_string(tensor.dim()) +
                             " dimensions, expected 2; use to_dense()");
  }
  if (Status parts = check_parts(tensor, name); !parts) return std::move(parts).error();
  Result<TensorData> values = dense(tensor.values(), name, hold);
  if (!values) return values;
  Result<TensorData> data =
      TensorData::sparse_csr(std::move(*values), index_vector(tensor.crow_indices()),
                             index_vector(tensor.col_indices()), tensor.sizes());
  // PyTorch does not check the indices of a tensor that is made unsafely, or changed in place.
  if (!data) return std::move(data).error().with_context(name.text());
  return data;
}

Result<TensorData> convert(const at::Tensor& tensor, TensorName name, Hold hold) {
  if (Status readable = check_has_data(tensor, name); !readable) return std::move(readable).error();
  switch (tensor.layout()) {
    case c10::kStrided: return dense(tensor, name, hold);
    case c10::kSparseCsr: return sparse(tensor, name, hold);
    default:
      return refused(name,
                     "has a layout that cannot be sent, expected strided or sparse CSR; use "
                     "to_dense() or to_sparse_csr()");
  }
}

}  // namespace

std::string TensorName::text() const {
  std::string text(argument);
  if (index) text += "[" + std::to_string(*index) + "]";
  return text;
}

bool fits_its_storage(const at::Tensor& tensor) {
  return bytes_needed(tensor) <= tensor.storage().nbytes();
}

std::optional<DType> to_dtype(at::ScalarType type) noexcept {
  switch (type) {
    case at::kFloat: return DType::kFloat32;
    case at::kDouble: return DType::kFloat64;
    case at::kBFloat16: return DType::kBFloat16;
    case at::kHalf: return DType::kFloat16;
    case at::kLong: return DType::kInt64;
    case at::kInt: return DType::kInt32;
    case at::kShort: return DType::kInt16;
    case at::kChar: return DType::kInt8;
    case at::kByte: return DType::kUInt8;
    case at::kBool: return DType::kBool;
    default: return std::nullopt;
  }
}

std::string dtype_name(at::ScalarType type) {
  const std::optional<DType> known = to_dtype(type);
  return known ? std::string(to_string(*known)) : c10::toString(type);
}

at::ScalarType to_scalar_type(DType dtype) noexcept {
  switch (dtype) {
    case DType::kFloat32: return at::kFloat;
    case DType::kFloat64: return at::kDouble;
    case DType::kBFloat16: return at::kBFloat16;
    case DType::kFloat16: return at::kHalf;
    case DType::kInt64: return at::kLong;
    case DType::kInt32: return at::kInt;
    case DType::kInt16: return at::kShort;
    case DType::kInt8: return at::kChar;
    case DType::kUInt8: return at::kByte;
    case DType::kBool: break;
  }
  return at::kBool;
}

Status check_has_data(const at::Tensor& tensor, TensorName name) {
  const std::string reason = reason_without_data(tensor);
  if (reason.empty()) return ok_status();
  return refused(name, reason);
}

Result<TensorData> borrow(const at::Tensor& tensor, TensorName name) {
  return convert(tensor, name, Hold::kNothing);
}

Result<TensorData> share(const at::Tensor& tensor, TensorName name) {
  return convert(tensor, name, Hold::kStorage);
}

at::IntArrayRef sizes(const TensorData& data) {
  const Shape shape = data.shape();
  return {shape.data(), shape.size()};
}

at::Tensor to_tensor(const TensorData& data) {
  const auto copied = [](const void* bytes, std::size_t size, at::IntArrayRef shape,
                         at::ScalarType type) {
    at::Tensor tensor = at::empty(shape, type);
    if (size > 0) std::memcpy(tensor.data_ptr(), bytes, size);
    return tensor;
  };
  const at::ScalarType type = to_scalar_type(data.dtype());
  if (!data.is_sparse()) return copied(data.data(), data.size_bytes(), sizes(data), type);
  const auto indices = [&copied](std::span<const std::int64_t> values) {
    return copied(values.data(), values.size_bytes(), {static_cast<std::int64_t>(values.size())},
                  at::kLong);
  };
  const at::Tensor values =
      copied(data.data(), data.size_bytes(), {static_cast<std::int64_t>(data.size())}, type);
  return at::sparse_csr_tensor(indices(data.crow_indices()), indices(data.col_indices()), values,
                               sizes(data), values.options().layout(c10::kSparseCsr));
}

}  // namespace tinkex::torch_ext
