#include "torch_ext/remote/host_batch.h"

#include <utility>

#include "torch_ext/host_copies.h"

namespace tinkex::torch_ext::remote {

Result<HostBatch> HostBatch::of(const std::vector<at::Tensor>& tokens,
                                NamedTensorLists loss_fn_inputs) {
  if (Status checked = check_no_gradient(loss_fn_inputs); !checked) {
    return std::move(checked).error();
  }
  HostBatch batch;
  batch.loss_fn_inputs_ = std::move(loss_fn_inputs);
  HostCopies copies;
  for (auto& [name, list] : batch.loss_fn_inputs_) {
    if (HostCopies::needs_any(list)) list = copies.start(list);
  }
  if (HostCopies::needs_any(tokens)) batch.tokens_ = copies.start(tokens);
  copies.finish();
  auto datums =
      borrow_datums(batch.tokens_.empty() ? tokens : batch.tokens_, batch.loss_fn_inputs_);
  if (!datums) return std::move(datums).error();
  batch.datums_ = *std::move(datums);
  return batch;
}

}  // namespace tinkex::torch_ext::remote
