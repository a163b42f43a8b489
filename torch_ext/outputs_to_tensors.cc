#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "torch_ext/datum_convert.h"
#include "torch_ext/ragged.h"
#include "torch_ext/tensor_convert.h"

namespace tinkex::torch_ext {
namespace {

/// The arrays of one name, in the order of the datums.
using Parts = std::vector<const TensorData*>;

Error wrong_output(std::size_t index, std::string_view name, std::string_view what) {
  return Error(ErrorCode::kDecode, "the server's output of datum " + std::to_string(index) + " " +
                                       std::string(what) + " '" + std::string(name) +
                                       "', unlike that of datum 0");
}

/// `position` is where the first datum has it, and most likely the others too.
Result<Parts> parts_of(const std::vector<NamedTensors>& outputs, std::size_t position) {
  const std::string& name = outputs.front()[position].first;
  Parts parts;
  parts.reserve(outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const NamedTensors& datum = outputs[i];
    const bool as_expected = position < datum.size() && datum[position].first == name;
    const TensorData* part = as_expected ? &datum[position].second : find(datum, name);
    if (part == nullptr) return wrong_output(i, name, "lacks");
    parts.push_back(part);
  }
  return parts;
}

/// That no datum has an output which the first one lacks.
Status check_names(const std::vector<NamedTensors>& outputs) {
  for (std::size_t i = 1; i < outputs.size(); ++i) {
    if (outputs[i].size() == outputs.front().size()) continue;  // parts_of() found them all
    for (const auto& [name, data] : outputs[i]) {
      if (find(outputs.front(), name) == nullptr) return wrong_output(i, name, "has");
    }
  }
  return ok_status();
}

bool one_storage_fits(const Parts& parts) {
  return std::all_of(parts.begin(), parts.end(), [&](const TensorData* part) {
    return !part->is_sparse() && part->dtype() == parts.front()->dtype();
  });
}

/// The elements of all parts, one after another. The arrays of a decoded reply lie side by side:
/// such neighbours are copied together.
at::Tensor joined(const Parts& parts) {
  std::int64_t elements = 0;
  for (const TensorData* part : parts) elements += static_cast<std::int64_t>(part->size());
  at::Tensor flat = at::empty({elements}, to_scalar_type(parts.front()->dtype()));
  auto* target = static_cast<std::byte*>(flat.data_ptr());
  const std::byte* run = nullptr;
  std::size_t bytes = 0;
  const auto copy_run = [&] {
    if (bytes > 0) std::memcpy(target, run, bytes);
    target += bytes;
  };
  for (const TensorData* part : parts) {
    if (run == nullptr || run + bytes != part->data()) {
      copy_run();
      run = part->data();
      bytes = 0;
    }
    bytes += part->size_bytes();
  }
  copy_run();
  return flat;
}

/// One tensor after another of a flat one. Made by hand, as LibTorch's own views are: at::narrow
/// would cost several times as much, and track a view that nobody needs.
class Slicer {
 public:
  explicit Slicer(const at::Tensor& flat)
      : storage_(flat.storage()), keys_(flat.key_set()), dtype_(flat.dtype()) {}

  at::Tensor next(const TensorData& part) {
    auto slice = c10::make_intrusive<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(storage_),
                                                      keys_, dtype_);
    slice->set_sizes_contiguous(sizes(part));
    slice->set_storage_offset(begin_);
    begin_ += static_cast<std::int64_t>(part.size());
    return at::Tensor(std::move(slice));
  }

 private:
  const c10::Storage storage_;
  const c10::DispatchKeySet keys_;
  const caffe2::TypeMeta dtype_;
  std::int64_t begin_ = 0;
};

std::vector<at::Tensor> to_list(const Parts& parts) {
  std::vector<at::Tensor> list;
  list.reserve(parts.size());
  if (!one_storage_fits(parts)) {
    for (const TensorData* part : parts) list.push_back(to_tensor(*part));
    return list;
  }
  Slicer slicer(joined(parts));
  for (const TensorData* part : parts) list.push_back(slicer.next(*part));
  return list;
}

Result<Ragged> to_ragged(std::string_view name, const Parts& parts) {
  const TensorData& first = *parts.front();
  const Shape row = first.shape().trailing();
  std::vector<std::int64_t> lengths;
  lengths.reserve(parts.size());
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const TensorData& part = *parts[i];
    const bool alike = !part.is_sparse() && part.dtype() == first.dtype() &&
                       part.shape().size() == first.shape().size() &&
                       part.shape().trailing() == row;
    if (!alike) {
      return Error(ErrorCode::kDecode,
                   "the server's output '" + std::string(name) + "' of datum " + std::to_string(i) +
                       " is sparse, or has another dtype or other dimensions than that of datum "
                       "0, so that it has no form as values and offsets; call the form that gives "
                       "lists");
    }
    lengths.push_back(part.shape().empty() ? 1 : part.shape().front());
    rows += lengths.back();
  }
  std::vector<std::int64_t> shape{rows};
  shape.insert(shape.end(), row.begin(), row.end());
  return Ragged{joined(parts).view(shape), offsets_of_lengths(lengths)};
}

}  // namespace

Result<NamedTensorLists> outputs_to_tensors(const std::vector<NamedTensors>& outputs) {
  NamedTensorLists lists;
  if (outputs.empty()) return lists;
  for (std::size_t k = 0; k < outputs.front().size(); ++k) {
    const Result<Parts> parts = parts_of(outputs, k);
    if (!parts) return parts.error();
    lists.emplace_back(outputs.front()[k].first, to_list(*parts));
  }
  if (Status names = check_names(outputs); !names) return names.error();
  return lists;
}

Result<NamedRagged> outputs_to_ragged(const std::vector<NamedTensors>& outputs) {
  NamedRagged ragged;
  if (outputs.empty()) return ragged;
  for (std::size_t k = 0; k < outputs.front().size(); ++k) {
    const Result<Parts> parts = parts_of(outputs, k);
    if (!parts) return parts.error();
    Result<Ragged> one = to_ragged(outputs.front()[k].first, *parts);
    if (!one) return std::move(one).error();
    ragged.emplace_back(outputs.front()[k].first, *std::move(one));
  }
  if (Status names = check_names(outputs); !names) return names.error();
  return ragged;
}

at::Tensor offsets_of_lengths(const std::vector<std::int64_t>& lengths) {
  at::Tensor offsets = at::empty({static_cast<std::int64_t>(lengths.size()) + 1}, at::kLong);
  auto* values = offsets.data_ptr<std::int64_t>();
  values[0] = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) values[i + 1] = values[i] + lengths[i];
  return offsets;
}

}  // namespace tinkex::torch_ext
