#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/transport.h"

namespace tinkex::mocks {

/// Holds replies back until the test opens it; afterwards it holds nothing. Thread-safe.
class Gate {
 public:
  void open();
  bool is_open() const;
  /// Runs `action` once the gate is open: now, if it is.
  void when_open(std::function<void()> action);

 private:
  mutable internal::Mutex mutex_;
  bool open_ TINKEX_GUARDED_BY(mutex_) = false;
  std::vector<std::function<void()>> waiting_ TINKEX_GUARDED_BY(mutex_);
};

/// How a reply goes wrong.
enum class Fault {
  kNone,
  kClose,      ///< The connection ends after `fault_after` body bytes.
  kReset,      ///< The same with a TCP reset.
  kHalfClose,  ///< The server stops sending after `fault_after` body bytes but keeps listening.
  kStall,      ///< Nothing more comes after `fault_after` body bytes; the connection stays open.
};

/// One reply of a ScriptedServer. A plain value; the members may be set directly. What can go
/// wrong, in one line each:
///
/// ```
/// Reply::json("{}", 503)                                  // a status
/// Reply::json("{}", 429).with_header("retry-after", "2")  // headers
/// Reply::json("{}").after(30ms)                           // a delay
/// Reply::json("{}").dripping(8, 5ms)                      // a slow drip
/// Reply::json(body).cut_after(10)                         // a cut body, the connection closed
/// Reply::json(body).cut_after(10, Fault::kReset)          // the same with a reset
/// Reply::json(body).cut_after(10, Fault::kHalfClose)      // half closed
/// Reply::json(body).cut_after(10, Fault::kStall)          // and nothing more comes
/// Reply::hang_up(), Reply::hang_up(Fault::kReset)         // no answer at all
/// Reply::garbage("hello?")                                // not HTTP
/// Reply::bad_json(), Reply::truncated_protobuf()          // a whole reply that makes no sense
/// Reply::json("{}").labelled("text/html")                 // a wrong content type
/// ```
struct Reply {
  int status = 200;
  HttpHeaders headers;  ///< Content-Type is sent only if it is among them.
  std::string body;

  std::chrono::milliseconds delay{0};  ///< Between the request's last byte and the reply's first.
  std::shared_ptr<Gate> gate;          ///< If set, the reply also waits for it to open.
  std::shared_ptr<Gate> opens;         ///< If set, it is opened when the reply has been sent.

  Fault fault = Fault::kNone;
  /// Body bytes sent before the fault. The headers always announce the whole body.
  std::size_t fault_after = 0;
  /// The fault comes before the status line; nothing is sent at all.
  bool silent = false;
  /// The body is sent as it is, with neither status line nor headers, and the connection closes.
  bool raw = false;
  bool chunked = false;            ///< Chunked transfer encoding instead of Content-Length.
  bool close_after_reply = false;  ///< The connection ends after a complete reply, unannounced.
  std::size_t drip_bytes = 0;      ///< If set, the reply is sent in pieces of this size ...
  std::chrono::milliseconds drip_interval{1};  ///< ... with this pause before each.

  static Reply json(std::string body, int status = 200) {
    return with_type("application/json", std::move(body), status);
  }
  static Reply protobuf(std::string body) {
    return with_type("application/x-protobuf", std::move(body), 200);
  }
  static Reply with_type(std::string content_type, std::string body, int status = 200) {
    Reply reply;
    reply.status = status;
    reply.headers = {{"content-type", std::move(content_type)}};
    reply.body = std::move(body);
    return reply;
  }
  /// JSON that ends in the middle, in a reply that is whole.
  static Reply bad_json() { return json(R"({"request_id":"request-1","metrics":{"loss:su)"); }
  /// A protobuf message that ends in the middle, in a reply that is whole.
  static Reply truncated_protobuf() { return protobuf(std::string("\x0a\x7f\x0a\x05", 4)); }
  /// Bytes that are not HTTP.
  static Reply garbage(std::string bytes) {
    Reply reply;
    reply.raw = true;
    reply.body = std::move(bytes);
    return reply;
  }
  /// The connection ends, or is reset, without a reply.
  static Reply hang_up(Fault fault = Fault::kClose) {
    Reply reply;
    reply.silent = true;
    reply.fault = fault;
    return reply;
  }
  /// A reply that announces `announced` body bytes, sends `sent` of them and goes wrong.
  static Reply broken(Fault fault, std::size_t announced, std::size_t sent) {
    Reply reply = json(std::string(announced, 'x'));
    reply.fault = fault;
    reply.fault_after = sent;
    return reply;
  }

  Reply after(std::chrono::milliseconds pause) && {
    delay = pause;
    return std::move(*this);
  }
  Reply held_by(std::shared_ptr<Gate> holder) && {
    gate = std::move(holder);
    return std::move(*this);
  }
  /// Opens `next` when this reply has been sent.
  Reply then_open(std::shared_ptr<Gate> next) && {
    opens = std::move(next);
    return std::move(*this);
  }
  /// The connection goes wrong after `sent` bytes of the body, all of which is announced.
  Reply cut_after(std::size_t sent, Fault how = Fault::kClose) && {
    fault = how;
    fault_after = sent;
    return std::move(*this);
  }
  /// A complete reply whose body is only the first `size` bytes.
  Reply truncated_to(std::size_t size) && {
    if (size < body.size()) body.resize(size);
    return std::move(*this);
  }
  /// The reply comes in pieces of `bytes`, each after a pause.
  Reply dripping(std::size_t bytes, std::chrono::milliseconds pause) && {
    drip_bytes = bytes;
    drip_interval = pause;
    return std::move(*this);
  }
  /// Says that the body is something else than it is.
  Reply labelled(std::string content_type) && {
    for (auto& [name, value] : headers) {
      if (name == "content-type") value = content_type;
    }
    return std::move(*this);
  }
  Reply with_header(std::string name, std::string value) && {
    headers.emplace_back(std::move(name), std::move(value));
    return std::move(*this);
  }
};

}  // namespace tinkex::mocks
