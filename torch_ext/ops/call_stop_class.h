#pragma once

#include <torch/custom_class.h>

#include <chrono>
#include <memory>

#include "tinkex/base/call_stop.h"
#include "torch_ext/torch_prelude.h"

namespace tinkex::torch_ext {

/// For the Python package, whose main thread leaves a call to another thread: Ctrl-C stops it while
/// it still reads tensors. torch.classes.tinkex.CallStop.
class ScriptCallStop final : public torch::CustomClassHolder {
 public:
  /// What this thread calls from now on can be stopped.
  void announce() { tinkex::internal::CallStop::announce(stop_); }
  /// Nothing of a tensor is sent any more. Waits, a second at most, until none is being encoded.
  void stop() { stop_->stop(std::chrono::seconds(1)); }

 private:
  const std::shared_ptr<tinkex::internal::CallStop> stop_ =
      std::make_shared<tinkex::internal::CallStop>();
};

/// Called by library.cc.
void register_call_stop_class(torch::Library& library);

}  // namespace tinkex::torch_ext
