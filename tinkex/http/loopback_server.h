#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tinkex/error.h"
#include "tinkex/transport.h"

namespace tinkex::http {

/// One request as it arrived.
struct ServerRequest {
  std::string method;
  std::string target;   ///< Path and query, as sent.
  HttpHeaders headers;  ///< Names in lower case.
  std::string body;
};

/// What goes back. The server adds Content-Length and Connection by itself and drops such headers
/// given here; a 204 or 304 goes without its body.
struct ServerResponse {
  int status = 200;
  HttpHeaders headers;
  std::string body;
};

/// Answers one request. Thread-safe. The first call counts; later ones, and one that comes after
/// the connection or the server is gone, do nothing. If every copy is destroyed without a call,
/// the client gets a 500.
using Respond = std::function<void(ServerResponse)>;

/// Runs on a server thread and must return quickly. It may answer later, from any thread. An
/// exception that leaves it becomes a 500 with `{"detail": ...}`.
using Handler = std::function<void(ServerRequest, Respond)>;

struct ServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  ///< 0: the system picks a free one.
  /// A longer request body is refused with 413.
  std::uint64_t max_body_bytes = std::uint64_t{1} << 30;
  /// At least one.
  int threads = 1;
  /// A connection on which no complete request arrives for so long is closed.
  std::chrono::milliseconds idle_timeout{600'000};
};

/// HTTP/1.1 server with keep-alive. Malformed requests get 400, too many header bytes 431.
class LoopbackServer {
 public:
  /// Listens and starts serving. kIo if the address cannot be used; the message names host, port
  /// and remedy. kInvalidArgument if an option is out of range.
  static Result<std::unique_ptr<LoopbackServer>> start(ServerOptions options, Handler handler);

  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;
  /// Stops.
  ~LoopbackServer();

  /// The port that it listens on.
  std::uint16_t port() const noexcept;
  /// For example `http://127.0.0.1:8080`. A wildcard host is written as the loopback address.
  std::string base_url() const;

  /// Closes every connection and waits for the server threads. No handler starts afterwards.
  /// Idempotent. Called from a handler it does not wait for the thread that it runs on.
  void stop() noexcept;

 private:
  class Impl;
  explicit LoopbackServer(std::shared_ptr<Impl> impl);

  const std::shared_ptr<Impl> impl_;
};

}  // namespace tinkex::http
