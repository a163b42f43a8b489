#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/error.h"

namespace tinkex {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// One HTTP request. `body` is shared so that a retry sends the same bytes without a copy.
struct HttpRequest {
  std::string method = "POST";
  std::string url;
  HttpHeaders headers;
  std::shared_ptr<const ByteBuffer> body;  ///< Null: no body.
  /// Of the whole exchange until the reply's body begins to come; from then on, how long nothing
  /// more of it may come.
  std::chrono::milliseconds timeout{60'000};
  std::chrono::milliseconds connect_timeout{5'000};
  /// Starts at once, before those that wait for a connection. For what must not be late:
  /// heartbeats.
  bool urgent = false;
  /// A longer reply fails with kDecode instead of filling the memory.
  std::uint64_t max_response_bytes = std::uint64_t{1} << 30;
};

/// A complete exchange, whatever its status: a 404 is a response, not an error.
struct HttpResponse {
  int status = 0;
  HttpHeaders headers;  ///< Names in lower case.
  std::string body;

  /// Value of a header (name in lower case), or an empty view.
  std::string_view header(std::string_view name) const noexcept;
};

/// Carries HTTP exchanges. Thread-safe. The default one runs libcurl on one I/O thread; users
/// replace it to test their own code.
class Transport {
 public:
  /// Runs on the transport's own thread, exactly once per send, and must return quickly: it
  /// only hands the result on. The error is kConnection, kTimeout, kCancelled, kClosed or kDecode.
  using Callback = std::function<void(Result<HttpResponse>)>;
  using RequestId = std::uint64_t;

  virtual ~Transport() = default;

  /// Starts an exchange. Never blocks; takes no lock.
  virtual RequestId send(HttpRequest request, Callback callback) noexcept = 0;

  /// Aborts an exchange; its callback gets kCancelled unless it is already complete.
  virtual void cancel(RequestId id) noexcept = 0;

  /// Aborts an exchange whose body has not left in full, so that the server cannot have taken it:
  /// its callback gets kCancelled with not_accepted(). Any other exchange goes on, as all do where
  /// a transport cannot tell.
  virtual void withdraw(RequestId) noexcept {}

  /// Takes back the memory of a reply's body that was read, for the bodies of later replies.
  virtual void recycle(std::string) noexcept {}

  /// Fails every exchange with kClosed, now and from now on. Returns when no callback runs any
  /// more. Must not be called from a callback.
  virtual void shutdown() noexcept = 0;
};

}  // namespace tinkex
