#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tinkex::bench {

struct EpollRequest {
  std::string_view target;
  std::string_view body;
};

/// The body is shared, so that a large one is never copied.
struct EpollReply {
  int status = 200;
  const char* content_type = "application/json";
  std::shared_ptr<const std::string> body;
};

/// HTTP/1.1 with keep-alive on one thread, for requests with a Content-Length. It exists because a
/// benchmark of clients needs a server that costs less than they do; nothing here is careful about
/// hostile clients. Errors are thrown as std::runtime_error.
class EpollServer {
 public:
  using Clock = std::chrono::steady_clock;
  using Late = std::function<EpollReply()>;

  /// What a handler makes of a request: a reply, or what to ask for one at a time to come.
  struct Answer {
    EpollReply reply{};
    Clock::time_point when{};
    Late late{};  ///< Empty: `reply` goes out at once.
  };
  using Handler = std::function<Answer(const EpollRequest&)>;

  explicit EpollServer(Handler handler);
  EpollServer(const EpollServer&) = delete;
  EpollServer& operator=(const EpollServer&) = delete;
  ~EpollServer();

  std::uint16_t port() const noexcept { return port_; }
  /// Connections that were open at the same time, at most, since the last reset.
  std::size_t most_connections() const noexcept { return most_connections_; }
  void reset_most_connections() noexcept { most_connections_ = connections_.size(); }
  /// Serves until `end_fd` has something to read, or is closed by its other end.
  void serve(int end_fd);

 private:
  struct Connection;
  struct Held {
    Connection* connection;
    Late late;
  };

  void watch(int fd, void* data, std::uint32_t events, int operation);
  void accept_all();
  void on_event(Connection& connection, std::uint32_t events);
  /// False once the peer has gone.
  bool read(Connection& connection);
  bool serve_read(Connection& connection);
  void reply(Connection& connection, EpollReply reply);
  void write(Connection& connection);
  void watch_writing(Connection& connection, bool on);
  void close(Connection& connection);
  void release_due();
  int wait_ms() const;

  const Handler handler_;
  int epoll_ = -1;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::size_t most_connections_ = 0;
  std::multimap<Clock::time_point, Held> held_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
};

}  // namespace tinkex::bench
