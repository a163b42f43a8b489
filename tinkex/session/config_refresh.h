#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "tinkex/api/messages.h"
#include "tinkex/async/step_chain.h"

namespace tinkex::internal {

/// Asks for the server's configuration again and again. Nothing that is answered ends it: even a
/// 404 may come from a proxy whose server is away. It holds no thread.
class ConfigRefresh final : public StepChain {
 public:
  /// Runs on the executor, for each configuration that came.
  using Apply = std::function<void(const api::DynamicConfig&)>;

  ConfigRefresh(std::shared_ptr<Runtime> runtime, HttpRequest request, Apply apply)
      : StepChain(std::move(runtime)), request_(std::move(request)), apply_(std::move(apply)) {}

  /// Asks at once, and again as long after as the server wants. Call it once; cancel() ends it.
  void start();

 private:
  void ask();
  void wait(Clock::time_point from, std::chrono::milliseconds interval);

  const HttpRequest request_;
  const Apply apply_;
};

}  // namespace tinkex::internal
