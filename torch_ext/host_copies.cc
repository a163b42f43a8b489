#include "torch_ext/host_copies.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

#include "torch_ext/tensor_convert.h"

namespace tinkex::torch_ext {

bool HostCopies::needs(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_cuda() || tensor.layout() != c10::kStrided) return false;
  // Tensors that only stand for others (fake ones, those of functorch) are left for `borrow` to
  // refuse, as are nested ones, and those whose memory is gone: a copy would read what is another
  // tensor's by now.
  return tensor.has_storage() && !tensor.key_set().has(c10::DispatchKey::Python) &&
         !tensor.is_nested() && fits_its_storage(tensor);
}

bool HostCopies::needs_any(const std::vector<at::Tensor>& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), &HostCopies::needs);
}

at::Tensor HostCopies::start(const at::Tensor& tensor) {
  if (!needs(tensor)) return tensor;
  const c10::Device device = tensor.device();
  if (std::find(devices_.begin(), devices_.end(), device) == devices_.end()) {
    devices_.push_back(device);
  }
  // On the device the elements are put in order: then the copy is one, and asynchronous. LibTorch
  // takes pinned memory for a copy to the host that need not be waited for.
  const at::Tensor ordered = tensor.detach().resolve_neg().contiguous();
  return ordered.to(at::TensorOptions(c10::kCPU), /*non_blocking=*/true);
}

std::vector<at::Tensor> HostCopies::start(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> started;
  started.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) started.push_back(start(tensor));
  return started;
}

void HostCopies::finish() {
  for (const c10::Device device : devices_) {
    const c10::impl::VirtualGuardImpl guard(device.type());
    guard.synchronizeStream(guard.getStream(device));
  }
  devices_.clear();
}

}  // namespace tinkex::torch_ext
