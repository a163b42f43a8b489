#include "tinkex/error.h"

#include <algorithm>
#include <exception>
#include <new>

#include "tinkex/base/text.h"

namespace tinkex {

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid_argument";
    case ErrorCode::kConnection: return "connection";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kDeadlineExceeded: return "deadline_exceeded";
    case ErrorCode::kHttpStatus: return "http_status";
    case ErrorCode::kRequestFailed: return "request_failed";
    case ErrorCode::kDecode: return "decode";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kClosed: return "closed";
    case ErrorCode::kWouldDeadlock: return "would_deadlock";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kInternal: return "internal";
  }
  return "internal";
}

std::string_view to_string(ErrorCategory category) noexcept {
  switch (category) {
    case ErrorCategory::kUnknown: return "unknown";
    case ErrorCategory::kServer: return "server";
    case ErrorCategory::kUser: return "user";
  }
  return "unknown";
}

ErrorCategory parse_error_category(std::string_view text) noexcept {
  if (internal::equals_ignoring_case(text, "user")) return ErrorCategory::kUser;
  if (internal::equals_ignoring_case(text, "server")) return ErrorCategory::kServer;
  return ErrorCategory::kUnknown;
}

Error::Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {
  rebuild_what();
}

Error Error::with_http_status(int status) && {
  http_status_ = status;
  rebuild_what();
  return std::move(*this);
}

Error Error::with_category(ErrorCategory category) && {
  category_ = category;
  rebuild_what();
  return std::move(*this);
}

Error Error::with_retryable(bool retryable) && {
  retryable_ = retryable;
  return std::move(*this);
}

Error Error::with_not_accepted(bool not_accepted) && {
  not_accepted_ = not_accepted;
  return std::move(*this);
}

Error Error::with_request_id(std::string id) && {
  request_id_ = std::move(id);
  rebuild_what();
  return std::move(*this);
}

Error Error::with_retry_after(std::optional<std::chrono::milliseconds> delay) && {
  retry_after_ = delay;
  rebuild_what();
  return std::move(*this);
}

Error Error::with_chunk(std::size_t index, std::size_t total) && {
  chunk_ = index;
  total_chunks_ = total;
  rebuild_what();
  return std::move(*this);
}

Error Error::with_accepted(std::vector<std::string> request_ids) && {
  accepted_ = std::move(request_ids);
  rebuild_what();
  return std::move(*this);
}

Error Error::with_context(std::string_view context) && {
  message_.insert(0, std::string(context) + ": ");
  rebuild_what();
  return std::move(*this);
}

void Error::rebuild_what() {
  std::string details;
  const auto add = [&details](const std::string& text) {
    details += details.empty() ? " (" : ", ";
    details += text;
  };
  if (http_status_ != 0) add("HTTP " + std::to_string(http_status_));
  if (category_ != ErrorCategory::kUnknown) add("category " + std::string(to_string(category_)));
  if (!request_id_.empty()) add("request " + request_id_);
  if (chunk_) {
    add("chunk " + std::to_string(*chunk_ + 1) + " of " + std::to_string(total_chunks_) + ", " +
        std::to_string(accepted_.size()) + " accepted");
  }
  if (retry_after_) add("retry after " + std::to_string(retry_after_->count()) + " ms");
  what_ = "tinkex: [" + std::string(to_string(code_)) + "] " + message_;
  if (!details.empty()) what_ += details + ")";
}

namespace internal {

Error error_from_current_exception(std::string_view thrower) noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kInternal, "out of memory");
  } catch (const std::exception& exception) {
    const std::string by = thrower.empty() ? "" : std::string(thrower) + " threw: ";
    return Error(ErrorCode::kInternal, by + exception.what());
  } catch (...) {
    return Error(ErrorCode::kInternal,
                 thrower.empty()
                     ? "an exception of unknown type"
                     : std::string(thrower) + " threw something that is no std::exception");
  }
}

}  // namespace internal
}  // namespace tinkex
