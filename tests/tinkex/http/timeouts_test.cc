// How long an exchange may take.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/tinkex/http/deaf_port.h"
#include "tests/tinkex/http/exchange.h"
#include "tinkex/http/io_thread.h"
#include "tinkex/mocks/scripted_server.h"

namespace tinkex::http {
namespace {

using internal::IoThread;
using mocks::Fault;
using mocks::Reply;
using mocks::ScriptedServer;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

/// Takes one connection and serves it on a thread of its own.
class OneConnection {
 public:
  using Serve = std::function<void(pollfd& client)>;

  explicit OneConnection(Serve serve)
      : thread_([this, serve = std::move(serve)] {
          pollfd client{port_.take(), POLLIN, 0};
          serve(client);
          ::close(client.fd);
        }) {}
  ~OneConnection() { thread_.join(); }
  std::string url() const { return port_.url(); }

 private:
  const DeafPort port_{/*queue_is_full=*/false};
  std::thread thread_;
};

/// Whether the client does what `client` waits for within the time, or leaves.
bool stirs_within(pollfd& client, milliseconds pause) {
  return ::poll(&client, 1, static_cast<int>(pause.count())) != 0;
}

/// Answers one request by `body`, at once but for a pause before each byte of that, until the
/// client leaves.
OneConnection::Serve answer_slowly(std::string body, milliseconds pause) {
  return [body = std::move(body), pause](pollfd& client) {
    std::array<char, 4096> request{};
    (void)!::read(client.fd, request.data(), request.size());
    const std::string head =
        "HTTP/1.1 200 OK\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n";
    (void)!::write(client.fd, head.data(), head.size());
    for (const char byte : body) {
      if (stirs_within(client, pause)) break;
      (void)!::write(client.fd, &byte, 1);
    }
  };
}

/// Takes a request's body of `size` bytes by the MiB, with a pause before each, and answers then.
OneConnection::Serve read_slowly(std::size_t size, milliseconds pause) {
  return [size, pause](pollfd& client) {
    client.events = 0;  // asks for nothing: only an end interrupts a pause
    std::vector<char> piece(std::size_t{1} << 20);
    for (std::size_t taken = 0; taken < size;) {
      if (stirs_within(client, pause)) break;
      const ssize_t bytes = ::recv(client.fd, piece.data(), piece.size(), MSG_WAITALL);
      if (bytes <= 0) break;
      taken += static_cast<std::size_t>(bytes);
    }
    const std::string reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    (void)::send(client.fd, reply.data(), reply.size(), MSG_NOSIGNAL);
  };
}

class TimeoutsTest : public ::testing::Test {
 protected:
  HttpRequest post() const { return http::post(server_.base_url() + "/x", "hi"); }

  ScriptedServer server_;
  std::shared_ptr<IoThread> io_ = IoThread::start(std::make_shared<SteadyClock>()).value();
};

TEST_F(TimeoutsTest, ASilentServerIsATimeoutThatNamesTheTimeAllowed) {
  server_.script("POST", "/", {Reply::broken(Fault::kStall, 100, 0)});
  HttpRequest request = post();
  request.timeout = milliseconds(250);
  const Error error = fetch(*io_, std::move(request)).error();
  EXPECT_EQ(error.code(), ErrorCode::kTimeout);
  EXPECT_TRUE(error.retryable());
  EXPECT_FALSE(error.not_accepted());
  EXPECT_THAT(error.message(), HasSubstr("250 ms"));
  EXPECT_THAT(error.message(), HasSubstr("no complete reply"));
}

TEST_F(TimeoutsTest, AReplyThatKeepsComingMayTakeLongerThanTheTimeout) {
  server_.script("POST", "/",
                 {Reply::json(std::string(2000, 'x')).dripping(100, milliseconds(75))});
  HttpRequest request = post();
  request.timeout = milliseconds(1000);
  EXPECT_EQ(fetch(*io_, std::move(request)).value().body.size(), 2000u);
}

TEST_F(TimeoutsTest, AReplyOfLessThanAByteASecondIsNoStandstill) {
  const OneConnection server(answer_slowly("slow", milliseconds(1200)));
  HttpRequest request = http::post(server.url(), "hi");
  request.timeout = milliseconds(2500);
  EXPECT_EQ(fetch(*io_, std::move(request)).value().body, "slow");
}

TEST_F(TimeoutsTest, AReplyThatOnlyTricklesIsGivenUp) {
  const OneConnection server(answer_slowly(std::string(1000, 'x'), milliseconds(40)));
  HttpRequest request = http::post(server.url(), "hi");
  request.timeout = milliseconds(500);
  const Error error = fetch(*io_, std::move(request)).error();
  EXPECT_EQ(error.code(), ErrorCode::kConnection);
  EXPECT_TRUE(error.retryable());
  EXPECT_FALSE(error.not_accepted());
  EXPECT_THAT(error.message(), HasSubstr("too few"));
}

TEST_F(TimeoutsTest, AReplyOfBlanksIsNotOneThatHasBegun) {
  const OneConnection server(answer_slowly(std::string(1000, ' '), milliseconds(40)));
  HttpRequest request = http::post(server.url(), "hi");
  request.timeout = milliseconds(500);
  const Error error = fetch(*io_, std::move(request)).error();
  EXPECT_EQ(error.code(), ErrorCode::kTimeout) << "which is what holds a poll";
}

TEST_F(TimeoutsTest, ARequestThatKeepsLeavingMayTakeLongerThanTheTimeout) {
  constexpr std::size_t kBytes = std::size_t{24} << 20;
  const OneConnection server(read_slowly(kBytes, milliseconds(100)));
  HttpRequest request = http::post(server.url(), std::string(kBytes, 'x'));
  request.timeout = milliseconds(1000);
  EXPECT_EQ(fetch(*io_, std::move(request)).value().body, "ok");
}

TEST_F(TimeoutsTest, AReplyThatComesToAStandstillIsABrokenConnection) {
  server_.script("POST", "/", {Reply::broken(Fault::kStall, 100, 7)});
  HttpRequest request = post();
  request.timeout = milliseconds(1000);
  const Error error = fetch(*io_, std::move(request)).error();
  EXPECT_EQ(error.code(), ErrorCode::kConnection) << "a timeout is what holds a poll";
  EXPECT_TRUE(error.retryable());
  EXPECT_FALSE(error.not_accepted());
  EXPECT_THAT(error.message(), HasSubstr("standstill after 7 bytes"));
  EXPECT_THAT(error.message(), HasSubstr("1000 ms"));
}

TEST_F(TimeoutsTest, AConnectionWhoseBytesNobodyTakesIsGivenUpBeforeTheRequestsTimeout) {
  const DeafPort deaf(/*queue_is_full=*/false);
  const auto io = IoThread::start(std::make_shared<SteadyClock>(),
                                  {.unacknowledged_timeout = milliseconds(200)})
                      .value();
  HttpRequest request = http::post(deaf.url(), std::string(64 << 20, 'x'));
  request.timeout = std::chrono::minutes(10);
  const Error error = fetch(*io, std::move(request)).error();
  EXPECT_EQ(error.code(), ErrorCode::kConnection);
  EXPECT_TRUE(error.retryable());
  EXPECT_FALSE(error.not_accepted());
  io->shutdown();
}

TEST_F(TimeoutsTest, AConnectThatGetsNoAnswerIsATimeoutOfARequestThatNeverLeft) {
  const DeafPort deaf(/*queue_is_full=*/true);
  HttpRequest request = http::post(deaf.url(), "x");
  request.connect_timeout = milliseconds(40);
  const Error error = fetch(*io_, std::move(request)).error();
  EXPECT_EQ(error.code(), ErrorCode::kTimeout);
  EXPECT_TRUE(error.not_accepted());
  EXPECT_THAT(error.message(), HasSubstr("no connection"));
  EXPECT_THAT(error.message(), HasSubstr("40 ms"));
}

}  // namespace
}  // namespace tinkex::http
