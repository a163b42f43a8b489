#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/clock.h"
#include "tinkex/mocks/scripted_reply.h"
#include "tinkex/transport.h"

namespace tinkex::mocks {

/// A point in the life of a server. `order` counts the moments of one server from 1, so that tests
/// can compare moments without looking at the time; 0 means not yet.
struct Moment {
  std::uint64_t order = 0;
  Clock::time_point time{};
};

/// One request that a ScriptedServer has read completely.
struct LoggedRequest {
  std::size_t index = 0;  ///< 0, 1, ... in the order of arrival.
  int connection = 0;     ///< 1, 2, ... in the order of acceptance.
  std::string method;
  std::string target;   ///< Path and query, as sent.
  HttpHeaders headers;  ///< Names in lower case.
  std::string body;
  Moment began;    ///< Its headers were read.
  Moment arrived;  ///< Its last byte was read.
  Moment replied;  ///< The last part of its reply was about to be sent, or the fault to happen.
  /// The client ended the connection, or its sending side, while the reply was held back.
  bool client_left = false;

  /// Value of a header (name in lower case), or an empty view.
  std::string_view header(std::string_view name) const noexcept;
};

/// An HTTP/1.1 server on 127.0.0.1, port 0, that answers as a test tells it to, faults included,
/// and remembers what it was asked. Thread-safe.
///
/// A request goes to the route with its method and the longest path prefix. The route's scripted
/// replies are used up first, then its handler answers. What no route takes gets a 404, and a
/// script that is used up a 500, both with a `detail` that says so.
class ScriptedServer {
 public:
  /// Computes a reply on the server's thread; it must return quickly. An exception becomes a 500.
  using Handler = std::function<Reply(const LoggedRequest&)>;

  /// Starts. Throws std::runtime_error if no socket can be had.
  ScriptedServer();
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;
  /// Ends every connection.
  ~ScriptedServer();

  std::uint16_t port() const noexcept;
  std::string base_url() const;

  /// Appends replies to a route. `method` empty: any.
  void script(std::string method, std::string path_prefix, std::vector<Reply> replies);
  /// Answers the requests of a route that have no scripted reply.
  void handle(std::string method, std::string path_prefix, Handler handler);

  /// What has arrived so far whose target begins with `path_prefix`, in the order of arrival.
  std::vector<LoggedRequest> log(std::string_view path_prefix = {}) const;
  std::size_t count(std::string_view path_prefix = {}) const;
  /// Waits until `count` such requests have arrived. False if the time ran out first.
  bool wait_for_requests(std::size_t count, std::chrono::milliseconds timeout,
                         std::string_view path_prefix = {}) const;
  /// Most of such requests that were between arrival and reply at one time.
  std::size_t max_in_flight(std::string_view path_prefix = {}) const;
  int connections_accepted() const;

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace tinkex::mocks
