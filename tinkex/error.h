#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace tinkex {

/// What kind of thing went wrong. Programs branch on this, never on the message.
enum class ErrorCode {
  kInvalidArgument,   ///< The caller's input was refused before anything was sent.
  kConnection,        ///< The server could not be reached or the connection broke.
  kTimeout,           ///< The server took too long; the outcome there is unknown.
  kDeadlineExceeded,  ///< The call's own deadline passed; the outcome on the server is unknown.
  kHttpStatus,        ///< The server answered with a status that is not a success.
  kRequestFailed,     ///< The server accepted the operation and the operation failed.
  kDecode,            ///< The server's reply could not be understood.
  kCancelled,         ///< The caller cancelled, or the result was abandoned.
  kClosed,            ///< The client was closed, or was never initialised.
  kWouldDeadlock,     ///< Waiting here would wait on the thread that must do the work.
  kIo,                ///< A local file or resource could not be used.
  kInternal,          ///< A defect in tinkex, or an exception thrown by user code.
};

/// Whose fault a failure is, in the API's own vocabulary (protocol: `category`).
enum class ErrorCategory { kUnknown, kServer, kUser };

/// Stable lower-case names, for logs and for the text prefix of exceptions in Python.
std::string_view to_string(ErrorCode code) noexcept;
std::string_view to_string(ErrorCategory category) noexcept;

/// The category a wire string stands for, ignoring case; anything unrecognised is kUnknown.
ErrorCategory parse_error_category(std::string_view text) noexcept;

/// Why an operation did not succeed. A value: copy it, store it, or throw it.
///
/// `what()` gives one line, `tinkex: [code] message (HTTP status, request id, ...)`. It never holds
/// an API key.
class [[nodiscard]] Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const char* what() const noexcept override { return what_.c_str(); }

  /// HTTP status of the reply that caused this, 0 if there was none.
  int http_status() const noexcept { return http_status_; }
  ErrorCategory category() const noexcept { return category_; }
  /// Whether the same call might succeed later without any change by the caller.
  bool retryable() const noexcept { return retryable_; }
  /// Whether it is certain that the server did not take the request: it never left, or it was
  /// refused outright. False means the server may have acted on it.
  bool not_accepted() const noexcept { return not_accepted_; }
  /// Id of the server-side future, empty if the failure came before one existed.
  const std::string& request_id() const noexcept { return request_id_; }
  /// How long the server asked to wait, if it did.
  std::optional<std::chrono::milliseconds> retry_after() const noexcept { return retry_after_; }
  /// For a batch sent in chunks: index of the chunk that failed.
  std::optional<std::size_t> chunk() const noexcept { return chunk_; }
  /// For a batch of several chunks of which one could not be sent: how many there were; else 0.
  std::size_t total_chunks() const noexcept { return total_chunks_; }
  /// Ids of the chunks that the server had accepted; their gradients may have been accumulated.
  const std::vector<std::string>& accepted_request_ids() const noexcept { return accepted_; }

  Error with_http_status(int status) &&;
  Error with_category(ErrorCategory category) &&;
  Error with_retryable(bool retryable) &&;
  Error with_not_accepted(bool not_accepted) &&;
  Error with_request_id(std::string id) &&;
  Error with_retry_after(std::optional<std::chrono::milliseconds> delay) &&;
  Error with_chunk(std::size_t index, std::size_t total) &&;
  Error with_accepted(std::vector<std::string> request_ids) &&;
  /// Puts `context` and a colon before the message.
  Error with_context(std::string_view context) &&;

 private:
  void rebuild_what();

  ErrorCode code_;
  ErrorCategory category_ = ErrorCategory::kUnknown;
  bool retryable_ = false;
  bool not_accepted_ = false;
  int http_status_ = 0;
  std::string message_;
  std::string what_;
  std::string request_id_;
  std::optional<std::chrono::milliseconds> retry_after_;
  std::optional<std::size_t> chunk_;
  std::size_t total_chunks_ = 0;
  std::vector<std::string> accepted_;
};

/// Short form for the commonest error: nothing has been sent.
inline Error invalid_argument(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message)).with_not_accepted(true);
}

/// The value of an operation, or the Error that prevented it.
///
/// ```
/// tinkex::Result<int> r = parse(text);
/// if (!r) return r.error();
/// use(*r);
/// ```
/// `value()` throws the Error, for code that prefers exceptions.
template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(*-explicit-*)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(*-explicit-*)

  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  /// The value. Throws the Error if there is none. value(), `*` and error() of a result that is
  /// about to end move it out, so that `for (auto& each : future.get().value())` is sound; `->`
  /// only lends it.
  const T& value() const& {
    if (!ok()) throw error();
    return *std::get_if<0>(&state_);
  }
  T value() && {
    if (!ok()) throw std::move(*this).error();
    return std::move(*std::get_if<0>(&state_));
  }

  /// The value, which must be there.
  const T& operator*() const& noexcept { return *std::get_if<0>(&state_); }
  T& operator*() & noexcept { return *std::get_if<0>(&state_); }
  T operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }
  T* operator->() noexcept { return std::get_if<0>(&state_); }

  /// The error, which must be there.
  const Error& error() const& noexcept { return *std::get_if<1>(&state_); }
  Error error() && noexcept { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

/// The outcome of an operation that has no value.
struct Unit {
  friend bool operator==(Unit, Unit) { return true; }
};
using Status = Result<Unit>;
inline Status ok_status() { return Unit{}; }

namespace internal {

/// The Error that was thrown; kInternal for any other exception, after the name of who threw it.
Error error_from_current_exception(std::string_view thrower = {}) noexcept;

/// Calls fn and turns whatever it does, exceptions included, into a Result. `thrower` begins the
/// error of an exception that is no Error: who threw it.
template <class U, class Fn, class... Args>
Result<U> invoke_named(std::string_view thrower, Fn& fn, Args&&... args) noexcept {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Fn&, Args...>>) {
      fn(std::forward<Args>(args)...);
      return Unit{};
    } else {
      return fn(std::forward<Args>(args)...);
    }
  } catch (...) {
    return error_from_current_exception(thrower);
  }
}

}  // namespace internal
}  // namespace tinkex
