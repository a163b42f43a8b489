#pragma once

#include <memory>
#include <string>

#include "tinkex/connection/service_context.h"
#include "tinkex/future.h"

namespace tinkex::internal {

/// Tells the server that nobody waits for this future any more, where the server's dynamic
/// configuration allows it (cancel_future; the API's protocol since SDK 0.38). Sent once and never
/// repeated; what comes of it is not looked at. Thread-safe, does not block.
void tell_cancelled(const std::shared_ptr<const ServiceContext>& service,
                    const std::string& request_id);

/// Whether a settled cell was settled by its caller: cancelled, or its deadline passed.
template <class T>
bool was_given_up(ResultCell<T>& cell) {
  if (!cell.ready() || cell.result().ok()) return false;
  const ErrorCode code = cell.result().error().code();
  return code == ErrorCode::kCancelled || code == ErrorCode::kDeadlineExceeded;
}

}  // namespace tinkex::internal
