#include "torch_ext/no_gradient.h"

#include <c10/core/GradMode.h>

#include <string>

namespace tinkex::torch_ext {

Status check_no_gradient(const at::Tensor& tensor, TensorName name) {
  if (!tensor.defined() || !tensor.requires_grad() || !at::GradMode::is_enabled()) {
    return ok_status();
  }
  return invalid_argument(name.text() +
                          " requires a gradient, but none flows through the inputs of this call; "
                          "pass .detach(), or call it inside torch.no_grad()");
}

Status check_no_gradient(const NamedTensorLists& loss_fn_inputs) {
  for (const auto& [name, list] : loss_fn_inputs) {
    const std::string label = loss_input(name);
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (Status checked = check_no_gradient(list[i], {label, i}); !checked) return checked;
    }
  }
  return ok_status();
}

}  // namespace tinkex::torch_ext
