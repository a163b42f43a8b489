#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "tinkex/async/step_chain.h"

namespace tinkex::internal {

/// Sends the same request again and again, for the server's configuration. It holds no thread.
class Periodic final : public StepChain {
 public:
  /// Runs on the executor. How long from the begin of this exchange to the next; nothing ends it.
  using OnReply =
      std::function<std::optional<std::chrono::milliseconds>(const Result<HttpResponse>&)>;

  Periodic(std::shared_ptr<Runtime> runtime, HttpRequest request, OnReply on_reply)
      : StepChain(std::move(runtime)),
        request_(std::move(request)),
        on_reply_(std::move(on_reply)) {}

  /// The first exchange comes so long from now. Call it once; cancel() ends it.
  void start(std::chrono::milliseconds first);

 private:
  void wait(Clock::time_point from, std::chrono::milliseconds interval);
  void send();

  const HttpRequest request_;
  const OnReply on_reply_;
};

}  // namespace tinkex::internal
