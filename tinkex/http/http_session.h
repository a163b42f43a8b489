#pragma once

#include <utility>  // Before Asio: Boost 1.74 uses std::exchange without including it.

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "tinkex/http/loopback_server.h"

namespace tinkex::http {

/// One connection of a LoopbackServer: reads a request, hands it on, writes the answer, again.
/// Everything but the answer's arrival runs on the strand of its stream.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  /// What a session needs of its server, which outlives it.
  struct Host {
    ServerOptions options;
    Handler handler;
    /// Set first thing by stop(): no handler starts any more.
    std::atomic<bool> stopped{false};
    virtual ~Host() = default;
    /// The session has ended; the server lets go of it.
    virtual void forget(const HttpSession* session) noexcept = 0;
  };

  HttpSession(std::shared_ptr<Host> host, boost::asio::ip::tcp::socket socket);

  void run();
  /// Ends the connection; callable from any thread.
  void post_close();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using Response = boost::beast::http::response<boost::beast::http::string_body>;
  class Reply;

  void read_header();
  void on_header(boost::beast::error_code error);
  void read_body();
  void on_request(boost::beast::error_code error);
  void on_read_error(boost::beast::error_code error);
  void call_handler();
  void send(ServerResponse response);
  void on_written(boost::beast::error_code error);
  void drain(std::size_t budget);
  void close();

  const std::shared_ptr<Host> host_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::optional<Response> response_;
  bool keep_alive_ = false;
  bool head_ = false;
  bool drain_ = false;
  bool closed_ = false;
};

}  // namespace tinkex::http
