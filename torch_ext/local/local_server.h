#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tinkex/error.h"
#include "torch_ext/local/backend_options.h"

namespace tinkex::torch_ext::local {

struct LocalServerOptions {
  BackendOptions backend = {};
  std::string host = "127.0.0.1";
  /// 0 takes a free port; see LocalServer::base_url.
  std::uint16_t port = 0;
  /// A longer request body is answered with 413.
  std::size_t max_body_bytes = std::size_t{256} << 20;
};

/// The embedded backend behind HTTP/1.1 on a TCP port, for other programs and for integration
/// tests.
class LocalServer {
 public:
  /// Serves when it returns. It takes the port before it loads models, and answers 503 meanwhile.
  /// Errors: kIo if the port is in use or the data directory cannot be
  /// used, kInvalidArgument if other machines could reach it without an API key, or
  /// with one that clients do not send there; those of the models.
  static Result<std::unique_ptr<LocalServer>> start(LocalServerOptions options);

  /// Stops.
  ~LocalServer();

  /// `http://host:port`, without a slash at the end.
  const std::string& base_url() const noexcept;

  /// Refuses new requests, cuts the running batch or sample short, fails what waits. Idempotent.
  void stop() noexcept;

 private:
  class Impl;
  explicit LocalServer(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace tinkex::torch_ext::local
