#include "tinkex/connection/send_errors.h"

#include <utility>

namespace tinkex::internal {

Error cancelled_by_caller() {
  return Error(ErrorCode::kCancelled, "the caller cancelled this request");
}

Error partial_send_error(Error error, const std::vector<Accepted>& accepted, std::size_t total) {
  // What refused the failed chunk says nothing of those before it.
  if (!accepted.empty()) error = std::move(error).with_not_accepted(false);
  std::vector<std::string> ids;
  ids.reserve(accepted.size());
  for (const Accepted& one : accepted) {
    // A chunk whose result came at once has no id.
    if (!one.request_id.empty()) ids.push_back(one.request_id);
  }
  if (total == 1) return error;
  // Chunks that went side by side have told which of them failed.
  const std::size_t failed = error.chunk().value_or(accepted.size());
  return std::move(error).with_chunk(failed, total).with_accepted(std::move(ids));
}

Error progress_error(Error error, std::vector<std::string> accepted, std::size_t total) {
  const std::size_t count = accepted.size();
  error = std::move(error).with_accepted(std::move(accepted));
  if (total == 1 || count == total) return error;
  return std::move(error).with_chunk(count, total);
}

}  // namespace tinkex::internal
