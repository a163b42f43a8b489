#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "tinkex/async/step_chain.h"

namespace tinkex::internal {

/// Tells the server at an interval that the session is alive. Failures are ignored, for the next
/// beat may succeed; a 410 (session finished) or 404 ends it. It holds no thread and shares none
/// with the strands, so a long upload does not delay it.
class Heartbeat final : public StepChain {
 public:
  Heartbeat(std::shared_ptr<Runtime> runtime, HttpRequest request,
            std::chrono::milliseconds interval)
      : StepChain(std::move(runtime)), request_(std::move(request)), interval_(interval) {}

  /// The first beat comes one interval from now. Call it once; cancel() ends it.
  void start();

 private:
  void wait(Clock::time_point from);
  void beat();

  const HttpRequest request_;
  const std::chrono::milliseconds interval_;
};

}  // namespace tinkex::internal
