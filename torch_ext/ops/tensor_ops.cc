#include "torch_ext/ops/tensor_ops.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <string>
#include <tuple>
#include <vector>

#include "tinkex/base/token_id.h"
#include "tinkex/tokenizer.h"
#include "tinkex/tokenizers/utf8.h"
#include "torch_ext/error_bridge.h"
#include "torch_ext/ragged.h"
#include "torch_ext/tensor_convert.h"
#include "torch_ext/torch_prelude.h"

namespace tinkex::torch_ext {
namespace {

/// The device is an argument because tracers pass "meta" to an op that makes a tensor of none.
at::Tensor encode_text(const std::string& text, Optional<at::Device> device) {
  const std::vector<std::int64_t> ids = ByteTokenizer().encode(text);
  if (device && device->is_meta()) {
    return at::empty({static_cast<std::int64_t>(ids.size())},
                     at::TensorOptions(at::kLong).device(*device));
  }
  const at::Tensor tokens = to_tensor(TensorData::from(ids));
  return device ? tokens.to(*device) : tokens;
}

std::vector<std::int64_t> read_integers(const at::Tensor& tensor, const char* name) {
  const TensorData data = value_or_throw(borrow(tensor, name));
  if (is_floating_point(data.dtype()) || data.shape().size() != 1) {
    throw_error(invalid_argument(
        std::string(name) + " has dtype " + std::string(to_string(data.dtype())) + " and " +
        std::to_string(data.shape().size()) + " dimensions, expected one dimension of integers"));
  }
  return data.to_ints();
}

[[noreturn]] void refuse_element(const char* name, std::size_t index, std::int64_t value,
                                 const std::string& expected) {
  throw_error(invalid_argument(std::string(name) + "[" + std::to_string(index) + "] is " +
                               std::to_string(value) + ", expected " + expected));
}

/// `replace`: what is no UTF-8, as the text of a sample that ends within a character; Python could
/// not hold it.
std::string decode_text(const at::Tensor& tokens, bool replace) {
  const std::vector<std::int64_t> ids = read_integers(tokens, "tokens");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (internal::is_token_id(ids[i])) continue;
    refuse_element("tokens", i, ids[i], "token ids in [0, 2147483648)");
  }
  std::string text = ByteTokenizer().decode(ids);
  return replace ? tokenizers::lossy_utf8(text) : text;
}

/// What takes values and offsets reads dense rows; PyTorch's own refusals come later, or never.
void check_dense(const at::Tensor& tensor, TensorName name) {
  if (!tensor.defined() || (!tensor.is_nested() && tensor.layout() == c10::kStrided)) return;
  throw_error(
      invalid_argument(name.text() + " " +
                       (tensor.is_nested() ? kNestedTensor
                                           : "has the layout " + c10::str(tensor.layout()) +
                                                 ", expected a dense one; use to_dense()")));
}

void check_rows(at::TensorList tensors) {
  if (tensors.empty()) {
    throw_error(invalid_argument("tensors is empty, expected at least one tensor"));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    check_dense(tensors[i], {"tensors", i});
    if (tensors[i].defined() && tensors[i].dim() > 0) continue;
    throw_error(invalid_argument("tensors[" + std::to_string(i) +
                                 "] is undefined or has no dimensions, expected at least one"));
  }
}

at::Tensor offsets_of(at::TensorList tensors) {
  check_rows(tensors);
  std::vector<std::int64_t> lengths;
  lengths.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) lengths.push_back(tensor.size(0));
  return offsets_of_lengths(lengths);
}

at::Tensor shape_of_offsets(at::TensorList tensors) {
  check_rows(tensors);
  return at::empty({static_cast<std::int64_t>(tensors.size()) + 1},
                   tensors.front().options().dtype(at::kLong));
}

/// `tensors` lie on one device and have as many dimensions. Of their sizes at::cat speaks itself,
/// and it leaves out what is empty and has one dimension.
void check_alike(at::TensorList tensors) {
  const auto is_left_out = [](const at::Tensor& tensor) {
    return tensor.dim() == 1 && tensor.numel() == 0;
  };
  const auto shown = [](const at::Tensor& tensor) {
    return std::to_string(tensor.dim()) + " dimensions on " + tensor.device().str();
  };
  const at::Tensor& first = tensors.front();
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    const at::Tensor& other = tensors[i];
    if (other.device() == first.device() &&
        (other.dim() == first.dim() || is_left_out(other) || is_left_out(first)))
      continue;
    throw_error(invalid_argument("tensors[" + std::to_string(i) + "] has " + shown(other) +
                                 ", and tensors[0] " + shown(first) + "; expected them alike"));
  }
}

/// at::cat reads what was freed. The tensors of a tracer hold nothing that it could read.
void check_not_freed(at::TensorList tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor& tensor = tensors[i];
    const bool traced = tensor.is_meta() || tensor.key_set().has(c10::DispatchKey::Python) ||
                        tensor.key_set().has(c10::DispatchKey::Functionalize);
    if (traced || !tensor.has_storage()) continue;
    if (const Status status = check_has_data(tensor, {"tensors", i}); !status) {
      throw_error(status.error());
    }
  }
}

std::tuple<at::Tensor, at::Tensor> from_lists(at::TensorList tensors) {
  check_rows(tensors);
  check_alike(tensors);
  check_not_freed(tensors);
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("tinkex::offsets_of", "")
                             .typed<at::Tensor(at::TensorList)>();
  return {at::cat(tensors), op.call(tensors)};
}

std::vector<at::Tensor> to_lists(const at::Tensor& values, const at::Tensor& offsets) {
  check_dense(values, "values");
  if (!values.defined() || values.dim() == 0) {
    throw_error(
        invalid_argument("values is undefined or has no dimensions, expected at least one"));
  }
  const std::vector<std::int64_t> bounds =
      value_or_throw(read_offsets(offsets, values.size(0), "values"));
  std::vector<std::int64_t> lengths;
  lengths.reserve(bounds.size());
  for (std::size_t i = 1; i < bounds.size(); ++i) lengths.push_back(bounds[i] - bounds[i - 1]);
  if (lengths.empty()) return {};
  return values.split_with_sizes(lengths);
}

std::vector<at::Tensor> unpad(const at::Tensor& padded, const at::Tensor& lengths) {
  check_dense(padded, "padded");
  if (!padded.defined() || padded.dim() < 2) {
    throw_error(invalid_argument(
        "padded is undefined or has fewer than 2 dimensions, expected [sequences, longest, ...]"));
  }
  const std::vector<std::int64_t> counts = read_integers(lengths, "lengths");
  if (static_cast<std::int64_t>(counts.size()) != padded.size(0)) {
    throw_error(invalid_argument("lengths has " + std::to_string(counts.size()) +
                                 " elements but padded has " + std::to_string(padded.size(0)) +
                                 " sequences; give one length per sequence"));
  }
  std::vector<at::Tensor> list;
  list.reserve(counts.size());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] < 0 || counts[i] > padded.size(1)) {
      refuse_element("lengths", i, counts[i],
                     "0 to " + std::to_string(padded.size(1)) + ", the padded length");
    }
    list.push_back(padded.select(0, static_cast<std::int64_t>(i)).narrow(0, 0, counts[i]));
  }
  return list;
}

}  // namespace

void register_tensor_kernels(torch::Library& library) {
  library.impl("encode_text", TORCH_FN(encode_text));
  library.impl("decode_text", TORCH_FN(decode_text));
  library.impl("offsets_of", TORCH_FN(offsets_of));
}

void register_tensor_meta_kernels(torch::Library& library) {
  library.impl("offsets_of", TORCH_FN(shape_of_offsets));
}

void register_composite_kernels(torch::Library& library) {
  library.impl("from_lists", TORCH_FN(from_lists));
  library.impl("to_lists", TORCH_FN(to_lists));
  library.impl("unpad", TORCH_FN(unpad));
}

}  // namespace tinkex::torch_ext
