#include "tinkex/mocks/scripted_connection.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <charconv>
#include <limits>

#include "tinkex/base/text.h"

namespace tinkex::mocks {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

bool has_header(const HttpHeaders& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(), [&](const auto& header) {
    return boost::beast::iequals(header.first, {name.data(), name.size()});
  });
}

std::string head_of(const Reply& reply) {
  const auto reason = http::obsolete_reason(http::int_to_status(reply.status));
  std::string head =
      "HTTP/1.1 " + std::to_string(reply.status) + " " + std::string(reason) + "\r\n";
  for (const auto& [name, value] : reply.headers) head += name + ": " + value + "\r\n";
  if (reply.chunked) {
    head += "transfer-encoding: chunked\r\n";
  } else if (!has_header(reply.headers, "content-length")) {
    // A test that gives the length itself wants it to be wrong.
    head += "content-length: " + std::to_string(reply.body.size()) + "\r\n";
  }
  return head + "\r\n";
}

/// The size line of a chunk that carries `size` bytes.
std::string chunk_head(std::size_t size) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, size, 16).ptr;
  return std::string(digits, end) + "\r\n";
}

/// Every byte that the reply puts on the wire.
std::string wire_bytes(const Reply& reply) {
  if (reply.silent) return {};
  const bool whole = reply.fault == Fault::kNone;
  const std::string_view sent =
      std::string_view(reply.body).substr(0, whole ? std::string::npos : reply.fault_after);
  if (reply.raw) return std::string(sent);
  std::string bytes = head_of(reply);
  if (reply.chunked && !reply.body.empty()) bytes += chunk_head(reply.body.size());
  bytes += sent;
  if (reply.chunked && whole) bytes += reply.body.empty() ? "0\r\n\r\n" : "\r\n0\r\n\r\n";
  return bytes;
}

LoggedRequest take_request(http::request<http::string_body>&& message) {
  LoggedRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(internal::lower_case(std::string(field.name_string())),
                                 std::string(field.value()));
  }
  request.body = std::move(message.body());
  return request;
}

}  // namespace

ScriptedConnection::ScriptedConnection(std::shared_ptr<Host> host, asio::ip::tcp::socket socket,
                                       int number)
    : host_(std::move(host)),
      socket_(std::move(socket)),
      timer_(socket_.get_executor()),
      number_(number) {
  error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

void ScriptedConnection::read_header() {
  if (closed_) return;
  parser_.emplace();
  // Not boost::none, which Boost 1.74 takes for a limit of nothing.
  parser_->body_limit(std::numeric_limits<std::uint64_t>::max());
  http::async_read_header(socket_, buffer_, *parser_,
                          [self = shared_from_this()](error_code error, std::size_t) {
                            if (error) return self->refuse(error);
                            self->began_ = self->host_->log.now();
                            self->read_body();
                          });
}

void ScriptedConnection::read_body() {
  http::async_read(socket_, buffer_, *parser_,
                   [self = shared_from_this()](error_code error, std::size_t) {
                     error ? self->refuse(error) : self->on_request();
                   });
}

void ScriptedConnection::refuse(const error_code& error) {
  const bool hung_up = error == http::error::end_of_stream || error == http::error::partial_message;
  if (closed_ || hung_up ||
      error.category() != make_error_code(http::error::bad_method).category()) {
    return close();
  }
  // Not logged: there is no request to speak of.
  static constexpr std::string_view kRefusal =
      "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
  asio::async_write(socket_, asio::buffer(kRefusal.data(), kRefusal.size()),
                    [self = shared_from_this()](error_code, std::size_t) { self->close(); });
}

void ScriptedConnection::on_request() {
  keep_alive_ = parser_->get().keep_alive();
  LoggedRequest request = take_request(parser_->release());
  request.connection = number_;
  request.began = began_;
  request = host_->log.add(std::move(request));
  index_ = request.index;
  reply_ = host_->answer(request);
  holding_ = true;
  if (reply_.delay.count() > 0 || (reply_.gate && !reply_.gate->is_open())) watch_for_leaving();
  hold_for_gate();
}

void ScriptedConnection::hold_for_gate() {
  if (!reply_.gate || reply_.gate->is_open()) return hold_for_delay();
  // Weak: a gate that is never opened must not keep the connection, nor its server.
  reply_.gate->when_open([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    asio::post(self->socket_.get_executor(), [weak] {
      if (const auto alive = weak.lock()) alive->hold_for_delay();
    });
  });
}

void ScriptedConnection::hold_for_delay() {
  if (closed_) return;
  if (reply_.delay.count() <= 0) return begin_reply();
  timer_.expires_after(reply_.delay);
  timer_.async_wait([self = shared_from_this()](error_code error) {
    if (!error) self->begin_reply();
  });
}

void ScriptedConnection::watch_for_leaving() {
  socket_.async_wait(
      asio::ip::tcp::socket::wait_read, [self = shared_from_this()](error_code error) {
        if (error || !self->holding_ || self->closed_) return;
        char byte = 0;
        const auto size =
            self->socket_.receive(asio::buffer(&byte, 1), asio::socket_base::message_peek, error);
        if (!error && size > 0) return;  // The next request, ahead of time.
        self->host_->log.client_left(self->index_);
        self->close();
      });
}

void ScriptedConnection::begin_reply() {
  if (closed_) return;
  holding_ = false;
  error_code ignored;
  socket_.cancel(ignored);  // The watch.
  out_ = wire_bytes(reply_);
  written_ = 0;
  write_next();
}

void ScriptedConnection::write_next() {
  if (closed_) return;
  const std::size_t left = out_.size() - written_;
  if (left == 0) return finish_reply();
  if (reply_.drip_bytes == 0) return write_piece(left);
  timer_.expires_after(reply_.drip_interval);
  timer_.async_wait([self = shared_from_this(), left](error_code error) {
    if (!error) self->write_piece(std::min(left, self->reply_.drip_bytes));
  });
}

void ScriptedConnection::write_piece(std::size_t size) {
  if (closed_) return;
  const bool last = written_ + size == out_.size();
  // Before the write: afterwards the client may be quicker than this thread.
  if (last) host_->log.replied(index_);
  asio::async_write(socket_, asio::buffer(out_.data() + written_, size),
                    [self = shared_from_this(), size](error_code error, std::size_t) {
                      if (error) return self->close();
                      self->written_ += size;
                      self->write_next();
                    });
}

void ScriptedConnection::finish_reply() {
  if (out_.empty()) host_->log.replied(index_);
  out_ = {};
  if (reply_.opens) reply_.opens->open();
  error_code ignored;
  switch (reply_.fault) {
    case Fault::kNone:
      if (reply_.raw || reply_.close_after_reply || !keep_alive_) return close();
      return read_header();
    case Fault::kClose: return close();
    case Fault::kReset: return reset();
    case Fault::kHalfClose:
      socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
      return wait_for_leaving();
    case Fault::kStall: return wait_for_leaving();
  }
}

void ScriptedConnection::reset() {
  error_code ignored;
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  close();
}

void ScriptedConnection::wait_for_leaving() {
  socket_.async_read_some(asio::buffer(discarded_),
                          [self = shared_from_this()](error_code error, std::size_t) {
                            error ? self->close() : self->wait_for_leaving();
                          });
}

void ScriptedConnection::close() {
  if (closed_) return;
  closed_ = true;
  error_code ignored;
  socket_.close(ignored);
  timer_.cancel();
  host_->forget(shared_from_this());
}

}  // namespace tinkex::mocks
