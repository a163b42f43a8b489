#include "tinkex/http/http_session.h"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <exception>
#include <nlohmann/json.hpp>
#include <string_view>

#include "tinkex/base/text.h"

namespace tinkex::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace wire = boost::beast::http;
using beast::error_code;

constexpr std::uint32_t kMaxHeaderBytes = 64 << 10;
constexpr std::size_t kReadStep = 64 << 10;
/// How much of a refused body is read and thrown away so that the client sees the refusal; closing
/// at once would reset the connection under it.
constexpr std::size_t kDrainBytes = std::size_t{64} << 20;
constexpr std::chrono::seconds kDrainTime{2};

ServerResponse failure(int status, std::string_view detail) {
  ServerResponse response;
  response.status = status;
  response.headers = {{"content-type", "application/json"}};
  response.body = nlohmann::json{{"detail", detail}}.dump(-1, ' ', false,
                                                          nlohmann::json::error_handler_t::replace);
  return response;
}

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

bool is_framing_header(beast::string_view name) {
  return beast::iequals(name, "content-length") || beast::iequals(name, "transfer-encoding") ||
         beast::iequals(name, "connection");
}

/// Line ends in a value would let it forge further headers.
bool is_safe(const std::pair<std::string, std::string>& header) {
  const bool name_ok = !header.first.empty() && header.first.find_first_of(std::string_view(
                                                    "\r\n\0: ", 5)) == std::string::npos;
  return name_ok && header.second.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos;
}

/// The response to write for a handler's answer, which must be one that HTTP can carry.
ServerResponse checked(ServerResponse response) {
  if (response.status < 200 || response.status > 999) {
    return failure(
        500, "the handler answered with the impossible status " + std::to_string(response.status));
  }
  for (const auto& header : response.headers) {
    if (!is_safe(header)) {
      return failure(500, "the handler answered with a header that HTTP cannot carry");
    }
  }
  return response;
}

ServerRequest take_request(wire::request<wire::string_body>&& message) {
  ServerRequest request;
  const auto view = [](beast::string_view text) {
    return std::string_view(text.data(), text.size());
  };
  request.method = view(message.method_string());
  request.target = view(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(internal::lower_case(view(field.name_string())),
                                 view(field.value()));
  }
  request.body = std::move(message.body());
  return request;
}

}  // namespace

/// The state behind every copy of one Respond. It does not own the session: an answer that is never
/// given must not keep a closed connection's memory.
class HttpSession::Reply {
 public:
  explicit Reply(std::weak_ptr<HttpSession> session) : session_(std::move(session)) {}
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;
  ~Reply() {
    try {
      send(failure(500, "the server dropped the request without an answer"));
    } catch (const std::exception&) {
      // Without memory for an answer the client waits for its own timeout.
    }
  }

  void send(ServerResponse response) {
    if (sent_.exchange(true, std::memory_order_relaxed)) return;
    const auto session = session_.lock();
    if (!session) return;
    // The posted step is weak too: it may stay in the queue of a server that has stopped.
    asio::post(session->stream_.get_executor(),
               [weak = session_, response = std::move(response)]() mutable {
                 if (const auto alive = weak.lock()) alive->send(std::move(response));
               });
  }

 private:
  const std::weak_ptr<HttpSession> session_;
  std::atomic<bool> sent_{false};
};

HttpSession::HttpSession(std::shared_ptr<Host> host, asio::ip::tcp::socket socket)
    : host_(std::move(host)), stream_(std::move(socket)) {
  error_code ignored;
  stream_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
}

void HttpSession::run() {
  asio::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->read_header(); });
}

void HttpSession::post_close() {
  asio::post(stream_.get_executor(), [self = shared_from_this()] { self->close(); });
}

void HttpSession::read_header() {
  if (closed_) return;
  parser_.emplace();
  parser_->header_limit(kMaxHeaderBytes);
  parser_->body_limit(host_->options.max_body_bytes);
  stream_.expires_after(host_->options.idle_timeout);
  wire::async_read_header(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](error_code error, std::size_t) { self->on_header(error); });
}

void HttpSession::on_header(error_code error) {
  if (error) return on_read_error(error);
  if (parser_->is_done() || !beast::iequals(parser_->get()[wire::field::expect], "100-continue")) {
    return read_body();
  }
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(stream_, asio::buffer(kContinue.data(), kContinue.size()),
                    [self = shared_from_this()](error_code failed, std::size_t) {
                      failed ? self->close() : self->read_body();
                    });
}

void HttpSession::read_body() {
  // Beast reads as much at a time as the buffer holds, and by itself gives it 512 bytes.
  if (parser_->content_length().value_or(0) > kReadStep) buffer_.reserve(kReadStep);
  wire::async_read(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](error_code error, std::size_t) { self->on_request(error); });
}

void HttpSession::on_request(error_code error) {
  if (error) return on_read_error(error);
  stream_.expires_never();  // The handler takes the time that it takes.
  keep_alive_ = parser_->get().keep_alive();
  head_ = parser_->get().method() == wire::verb::head;
  call_handler();
}

void HttpSession::on_read_error(error_code error) {
  if (error == wire::error::end_of_stream || error == wire::error::partial_message ||
      error.category() != make_error_code(wire::error::bad_method).category()) {
    return close();  // The client is gone, or took too long.
  }
  keep_alive_ = false;
  head_ = false;
  drain_ = true;
  if (error == wire::error::body_limit) {
    const std::string limit = std::to_string(host_->options.max_body_bytes);
    return send(failure(413, "the request body is longer than the limit of " + limit + " bytes"));
  }
  if (error == wire::error::header_limit || error == wire::error::buffer_overflow) {
    return send(failure(431, "the request's headers are longer than " +
                                 std::to_string(kMaxHeaderBytes) + " bytes"));
  }
  send(failure(400, "the request is not valid HTTP: " + error.message()));
}

void HttpSession::call_handler() {
  if (closed_ || host_->stopped.load(std::memory_order_acquire)) return close();
  const auto reply = std::make_shared<Reply>(weak_from_this());
  try {
    host_->handler(take_request(parser_->release()),
                   [reply](ServerResponse response) { reply->send(std::move(response)); });
  } catch (const std::exception& problem) {
    reply->send(failure(500, std::string("the request handler failed: ") + problem.what()));
  } catch (...) {
    reply->send(failure(500, "the request handler failed"));
  }
}

void HttpSession::send(ServerResponse response) {
  if (closed_) return;
  try {
    response = checked(std::move(response));
    response_.emplace(static_cast<wire::status>(response.status), 11);
    for (const auto& [name, value] : response.headers) {
      if (!is_framing_header(name)) response_->insert(name, value);
    }
    if (!has_no_body(response.status)) {
      response_->content_length(response.body.size());
      if (!head_) response_->body() = std::move(response.body);
    }
    response_->keep_alive(keep_alive_);
  } catch (const std::exception&) {
    return close();  // A header beyond what Beast stores, or no memory.
  }
  stream_.expires_after(host_->options.idle_timeout);
  wire::async_write(
      stream_, *response_,
      [self = shared_from_this()](error_code error, std::size_t) { self->on_written(error); });
}

void HttpSession::on_written(error_code error) {
  if (error || closed_) return close();
  if (keep_alive_) return read_header();
  if (!drain_) return close();
  error_code ignored;
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  stream_.expires_after(kDrainTime);
  drain(kDrainBytes);
}

void HttpSession::drain(std::size_t budget) {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(kReadStep),
                          [self = shared_from_this(), budget](error_code error, std::size_t size) {
                            if (error || size >= budget || self->closed_) return self->close();
                            self->drain(budget - size);
                          });
}

void HttpSession::close() {
  if (closed_) return;
  closed_ = true;
  stream_.close();
  host_->forget(this);
}

}  // namespace tinkex::http
