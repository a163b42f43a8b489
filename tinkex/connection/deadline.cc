#include "tinkex/connection/deadline.h"

namespace tinkex::internal {

std::optional<std::chrono::milliseconds> deadline_of(const ServiceContext& service,
                                                     const CallOptions& call) {
  return call.deadline ? call.deadline : service.options.default_deadline;
}

LastWordPtr last_word_for(const ServiceContext& service, const CallOptions& call) {
  return deadline_of(service, call) ? std::make_shared<LastWord>() : nullptr;
}

Error deadline_error(const std::string& what, std::chrono::milliseconds deadline,
                     const std::string& heard) {
  std::string text = what + ": the deadline of " + std::to_string(deadline.count()) +
                     " ms passed before the result was there";
  if (!heard.empty()) text += "; last heard: " + heard;
  return Error(ErrorCode::kDeadlineExceeded, std::move(text)).with_retryable(true);
}

}  // namespace tinkex::internal
