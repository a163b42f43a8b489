#include "tinkex/connection/deadline.h"

namespace tinkex::internal {

std::optional<std::chrono::milliseconds> deadline_of(const ServiceContext& service,
                                                     const CallOptions& call) {
  return call.deadline ? call.deadline : service.options.default_deadline;
}

Error deadline_error(const std::string& what, std::chrono::milliseconds deadline) {
  return Error(ErrorCode::kDeadlineExceeded, what + ": the deadline of " +
                                                 std::to_string(deadline.count()) +
                                                 " ms passed before the result was there")
      .with_retryable(true);
}

}  // namespace tinkex::internal
