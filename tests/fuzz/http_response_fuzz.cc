#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "tests/fuzz/properties.h"
#include "tinkex/base/text.h"
#include "tinkex/http/curl_transfer.h"

// The input is what a server writes into the connection before it closes it: status line, headers,
// body. It is read by a real transfer over a socket pair.

namespace {

using namespace tinkex;

constexpr std::size_t kMaxBody = 64 * 1024;

class Connection {
 public:
  explicit Connection(std::string_view reply) {
    TINKEX_FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_.data()) == 0);
    // Everything fits into the socket's buffer.
    TINKEX_FUZZ_CHECK(write(ends_[1], reply.data(), reply.size()) ==
                      static_cast<ssize_t>(reply.size()));
    shutdown(ends_[1], SHUT_WR);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (!taken_) close(ends_[0]);
    close(ends_[1]);
  }

  void install(CURL* easy) {
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &Connection::take);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, this);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, &Connection::is_connected);
  }

 private:
  static curl_socket_t take(void* self, curlsocktype /*purpose*/, curl_sockaddr* /*address*/) {
    auto& connection = *static_cast<Connection*>(self);
    if (std::exchange(connection.taken_, true)) return CURL_SOCKET_BAD;
    return connection.ends_[0];  // libcurl closes it
  }
  static int is_connected(void* /*self*/, curl_socket_t /*socket*/, curlsocktype /*purpose*/) {
    return CURL_SOCKOPT_ALREADY_CONNECTED;
  }

  std::array<int, 2> ends_{};
  bool taken_ = false;
};

Result<HttpResponse> exchange(std::string_view reply) {
  Connection connection(reply);
  HttpRequest request;
  request.method = "GET";
  request.url = "http://127.0.0.1/api/v1/retrieve_future";
  request.max_response_bytes = kMaxBody;
  internal::ReplyMemory memory;
  const internal::CurlSettings settings;
  internal::CurlTransfer transfer(1, internal::CurlEasy(curl_easy_init()), std::move(request),
                                  nullptr, memory);
  TINKEX_FUZZ_CHECK(transfer.prepare(settings).ok());
  connection.install(transfer.handle());
  const CURLcode code = curl_easy_perform(transfer.handle());
  Result<HttpResponse> outcome = transfer.outcome(code);
  transfer.reclaim();  // before the connection goes
  return outcome;
}

void check_response(const HttpResponse& response, std::size_t sent) {
  TINKEX_FUZZ_CHECK(response.body.size() <= kMaxBody);
  std::size_t header_bytes = 0;
  for (const auto& [name, value] : response.headers) {
    header_bytes += name.size() + value.size();
    TINKEX_FUZZ_CHECK(internal::lower_case(name) == name);
    TINKEX_FUZZ_CHECK((name + value).find_first_of(std::string_view("\r\n\0", 3)) ==
                      std::string::npos);
  }
  TINKEX_FUZZ_CHECK(header_bytes <= sent);
  fuzz::check_poll_reply(response);
  fuzz::check_error_of(response);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view reply = fuzz::text_of(data, std::min(size, kMaxBody));
  const Result<HttpResponse> outcome = exchange(reply);
  if (outcome.ok()) {
    check_response(*outcome, reply.size());
  } else {
    fuzz::check_error(outcome.error(), {ErrorCode::kConnection, ErrorCode::kDecode});
  }
  return 0;
}
