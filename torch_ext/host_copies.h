#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace tinkex::torch_ext {

/// Brings the tensors of one call from CUDA devices to the host: each by one asynchronous copy into
/// pinned memory, on the current stream of its device, after what was put on that stream before.
/// All copies are on their way before anybody waits.
class HostCopies {
 public:
  /// Whether `tensor` is one that start() copies: strided, with data, on a CUDA device. Any other
  /// is for `borrow` to read or to refuse by name.
  static bool needs(const at::Tensor& tensor);
  static bool needs_any(const std::vector<at::Tensor>& tensors);

  /// A contiguous copy, not to be read before finish(); `tensor` itself where none is needed.
  at::Tensor start(const at::Tensor& tensor);
  std::vector<at::Tensor> start(const std::vector<at::Tensor>& tensors);
  /// Waits for the copies.
  void finish();

 private:
  std::vector<c10::Device> devices_;
};

/// A list of the caller's, or copies of it on the host where one of its tensors needs that. May be
/// read after copies.finish(); refers to `tensors`.
class HostTensors {
 public:
  HostTensors(const std::vector<at::Tensor>& tensors, HostCopies& copies) : tensors_(tensors) {
    if (HostCopies::needs_any(tensors)) copies_ = copies.start(tensors);
  }
  const std::vector<at::Tensor>& get() const { return copies_.empty() ? tensors_ : copies_; }

 private:
  const std::vector<at::Tensor>& tensors_;
  std::vector<at::Tensor> copies_;
};

}  // namespace tinkex::torch_ext
