#pragma once

#include <utility>  // Before Asio: Boost 1.74 uses std::exchange without including it.

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <memory>
#include <optional>
#include <string>

#include "tinkex/mocks/scripted_reply.h"
#include "tinkex/mocks/scripted_server.h"
#include "tinkex/mocks/server_log.h"

namespace tinkex::mocks {

/// One connection of a ScriptedServer. Lives on the server's only thread.
class ScriptedConnection : public std::enable_shared_from_this<ScriptedConnection> {
 public:
  /// What a connection needs of its server, which it keeps alive.
  struct Host {
    ServerLog log;
    virtual ~Host() = default;
    virtual Reply answer(const LoggedRequest& request) noexcept = 0;
    virtual void forget(const std::shared_ptr<ScriptedConnection>& connection) noexcept = 0;
  };

  ScriptedConnection(std::shared_ptr<Host> host, boost::asio::ip::tcp::socket socket, int number);

  void start() { read_header(); }
  void close();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using error_code = boost::system::error_code;

  void read_header();
  void read_body();
  void on_request();
  void refuse(const error_code& error);
  void hold_for_gate();
  void hold_for_delay();
  void watch_for_leaving();
  void begin_reply();
  void write_next();
  void write_piece(std::size_t size);
  void finish_reply();
  void reset();
  /// Reads and throws away until the client has had enough.
  void wait_for_leaving();

  const std::shared_ptr<Host> host_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  const int number_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::array<char, 4096> discarded_{};
  Moment began_;

  // The exchange under way.
  std::size_t index_ = 0;
  bool keep_alive_ = false;
  bool holding_ = false;
  bool closed_ = false;
  Reply reply_;
  std::string out_;
  std::size_t written_ = 0;
};

}  // namespace tinkex::mocks
