#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "tests/tinkex/http/deaf_port.h"
#include "tests/tinkex/http/exchange.h"
#include "tinkex/http/io_thread.h"
#include "tinkex/mocks/scripted_server.h"

namespace tinkex::http {
namespace {

using internal::IoThread;
using mocks::Fault;
using mocks::Gate;
using mocks::LoggedRequest;
using mocks::Reply;
using mocks::ScriptedServer;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr milliseconds kPatience{10'000};

class TransportTest : public ::testing::Test {
 protected:
  HttpRequest post(std::string_view body = "hi", HttpHeaders headers = {}) const {
    return http::post(server_.base_url() + "/x", body, std::move(headers));
  }
  Result<HttpResponse> answer_to(Reply reply) {
    server_.script("POST", "/", {std::move(reply)});
    return fetch(*io_, post());
  }

  ScriptedServer server_;
  std::shared_ptr<IoThread> io_ = IoThread::start(std::make_shared<SteadyClock>()).value();
};

TEST_F(TransportTest, CarriesMethodPathHeadersAndBodyBothWays) {
  server_.script("POST", "/a?b=c", {Reply::json("reply", 201).with_header("X-Mixed-Case", " v ")});
  HttpRequest request =
      http::post(server_.base_url() + "/a?b=c", std::string("bo\0dy", 5), {{"X-Key", "k"}});
  const HttpResponse response = fetch(*io_, std::move(request)).value();
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(response.body, "reply");
  EXPECT_EQ(response.header("x-mixed-case"), "v");
  const LoggedRequest seen = server_.log()[0];
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.body, std::string("bo\0dy", 5));
  EXPECT_EQ(seen.header("x-key"), "k");
  EXPECT_EQ(seen.header("content-length"), "5");
  EXPECT_EQ(seen.header("expect"), "");
  EXPECT_THAT(std::string(seen.header("accept-encoding")), HasSubstr("gzip"));
}

TEST_F(TransportTest, DotsInAPathReachTheServerAsTheyAre) {
  server_.handle("", "/", [](const LoggedRequest&) { return Reply::json("{}"); });
  HttpRequest request;
  request.method = "DELETE";
  request.url = server_.base_url() + "/runs/a/../b/.";
  ASSERT_TRUE(fetch(*io_, std::move(request)).ok());
  EXPECT_EQ(server_.log().back().target, "/runs/a/../b/.");
}

TEST_F(TransportTest, GetAndDeleteAndEmptyPostsCarryNoBody) {
  server_.handle("", "/", [](const LoggedRequest&) { return Reply::json("{}"); });
  for (const char* method : {"GET", "DELETE", "POST"}) {
    HttpRequest request;
    request.method = method;
    request.url = server_.base_url();
    EXPECT_EQ(fetch(*io_, std::move(request)).value().status, 200) << method;
    EXPECT_EQ(server_.log().back().method, method);
    EXPECT_EQ(server_.log().back().body, "");
  }
}

TEST_F(TransportTest, AStatusOfFailureIsAResponseAndRedirectsAreNotFollowed) {
  EXPECT_EQ(answer_to(Reply::json("{}", 404)).value().status, 404);
  EXPECT_EQ(answer_to(Reply::json("{}", 503)).value().status, 503);
  const auto moved =
      answer_to(Reply::json("", 302).with_header("location", server_.base_url() + "/elsewhere"));
  EXPECT_EQ(moved.value().status, 302);
  EXPECT_EQ(server_.count("/elsewhere"), 0u);
}

TEST_F(TransportTest, OneConnectionServesRequestAfterRequest) {
  server_.handle("", "/", [](const LoggedRequest&) { return Reply::json("{}"); });
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(fetch(*io_, post()).ok());
  EXPECT_EQ(server_.connections_accepted(), 1);
}

TEST_F(TransportTest, ManyExchangesRunSideBySideAndKeepTheirReplies) {
  constexpr std::size_t kCount = 64;
  const auto gate = std::make_shared<Gate>();
  server_.handle("", "/", [gate](const LoggedRequest& request) {
    return Reply::json(request.body).held_by(gate);
  });
  std::vector<std::future<Result<HttpResponse>>> replies;
  for (std::size_t i = 0; i < kCount; ++i) replies.push_back(start(*io_, post(std::to_string(i))));
  ASSERT_TRUE(server_.wait_for_requests(kCount, kPatience));
  gate->open();
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(replies[i].get().value().body, std::to_string(i));
  }
  EXPECT_EQ(server_.max_in_flight(), kCount);
}

TEST_F(TransportTest, SendsFromManyThreadsAllComeBackOnce) {
  constexpr int kThreads = 8;
  constexpr int kEach = 50;
  server_.handle("", "/", [](const LoggedRequest& r) { return Reply::json(r.body); });
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const std::string body = std::to_string(t * kEach + i);
        const auto response = fetch(*io_, post(body));
        if (response.ok() && response->body == body) right.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right.load(), kThreads * kEach);
  EXPECT_EQ(server_.count(), static_cast<std::size_t>(kThreads * kEach));
}

TEST_F(TransportTest, LargeBodiesTravelBothWaysUnchanged) {
  std::string large(12'000'000, '\0');
  for (std::size_t i = 0; i < large.size(); ++i)
    large[i] = static_cast<char>(i * 2654435761u >> 24);
  server_.handle("", "/", [](const LoggedRequest& r) { return Reply::protobuf(r.body); });
  EXPECT_TRUE(fetch(*io_, post(large)).value().body == large);
  EXPECT_TRUE(server_.log()[0].body == large);
}

TEST_F(TransportTest, ARepeatSendsTheSameSharedBytes) {
  server_.handle("", "/", [](const LoggedRequest&) { return Reply::json("{}"); });
  const HttpRequest request = post("shared");
  const long uses = request.body.use_count();
  ASSERT_TRUE(fetch(*io_, request).ok());
  ASSERT_TRUE(fetch(*io_, request).ok());
  EXPECT_EQ(server_.log()[1].body, "shared");
  // Nothing keeps the body once the reply is there; the I/O thread lets go just after the callback.
  while (request.body.use_count() != uses) std::this_thread::yield();
}

TEST_F(TransportTest, ChunkedAndDrippedRepliesArriveWhole) {
  Reply chunked = Reply::json("hello");
  chunked.chunked = true;
  EXPECT_EQ(answer_to(chunked).value().body, "hello");
  Reply dripped = Reply::json("hello");
  dripped.drip_bytes = 9;
  EXPECT_EQ(answer_to(dripped).value().body, "hello");
}

TEST_F(TransportTest, ARefusedConnectionNamesServerCauseAndRemedyAndWasNeverSent) {
  std::uint16_t port = 0;
  {
    ScriptedServer gone;
    port = gone.port();
  }
  const std::string server = "127.0.0.1:" + std::to_string(port);
  const Error error = fetch(*io_, http::post("http://" + server + "/secret-path", "x")).error();
  EXPECT_EQ(error.code(), ErrorCode::kConnection);
  EXPECT_TRUE(error.retryable());
  EXPECT_TRUE(error.not_accepted());
  EXPECT_THAT(error.message(), HasSubstr(server));
  EXPECT_THAT(error.message(), HasSubstr("is the server running"));
  EXPECT_THAT(error.message(), Not(HasSubstr("secret-path")));
}

TEST_F(TransportTest, UnusableUrlsAndSchemesAreRefusedBeforeAnythingIsSent) {
  for (const char* url : {"", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "gopher://x"}) {
    const auto result = fetch(*io_, http::post(url, "x"));
    ASSERT_FALSE(result.ok()) << url;
    EXPECT_TRUE(result.error().not_accepted()) << url << ": " << result.error().what();
  }
}

TEST_F(TransportTest, HeadersThatWouldForgeOthersAreRefused) {
  const Error error = fetch(*io_, post("x", {{"X-Evil", "a\r\nX-Forged: 1"}})).error();
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.message(), HasSubstr("X-Evil"));
  EXPECT_THAT(error.message(), Not(HasSubstr("Forged")));
  EXPECT_EQ(server_.count(), 0u);
}

// Spec X3.
TEST_F(TransportTest, X3_EveryBrokenReplyIsAConnectionErrorOfUnknownOutcome) {
  Reply half_chunk = Reply::broken(Fault::kReset, 1000, 10);
  half_chunk.chunked = true;
  for (const Reply& reply :
       {Reply::broken(Fault::kClose, 1000, 10), Reply::broken(Fault::kReset, 1000, 10),
        Reply::broken(Fault::kHalfClose, 1000, 10), half_chunk, Reply::hang_up(Fault::kClose),
        Reply::hang_up(Fault::kReset), Reply::garbage("\x01\x02 this is not HTTP \r\n\r\n")}) {
    const auto result = answer_to(reply);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), ErrorCode::kConnection) << result.error().what();
    EXPECT_FALSE(result.error().not_accepted()) << result.error().what();
    EXPECT_TRUE(result.error().retryable());
  }
  EXPECT_EQ(answer_to(Reply::json("fine")).value().body, "fine");
}

// Spec X3.
TEST_F(TransportTest, X3_APostIsNeverRepeatedByItself) {
  const std::string large(1'000'000, 'x');  // does not leave together with the headers
  std::size_t sent = 0;
  for (const Fault fault : {Fault::kReset, Fault::kClose, Fault::kHalfClose}) {
    for (const std::string& body : {std::string("once"), large}) {
      server_.script("POST", "/", {Reply::json("{}"), Reply::hang_up(fault)});
      ASSERT_TRUE(fetch(*io_, post()).ok());
      // The second goes out on the connection that was kept, which then dies before the reply.
      const auto second = fetch(*io_, post(body));
      ASSERT_FALSE(second.ok());
      EXPECT_FALSE(second.error().not_accepted()) << second.error().what();
      sent += 2;
      EXPECT_EQ(server_.count(), sent);
    }
  }
}

TEST_F(TransportTest, AConnectionThatTheServerClosedInIdlenessIsReplaced) {
  Reply last = Reply::json("{}");
  last.close_after_reply = true;
  server_.script("POST", "/", {last});
  ASSERT_TRUE(fetch(*io_, post()).ok());
  server_.handle("POST", "/", [](const LoggedRequest&) { return Reply::json("again"); });
  // Whether libcurl sees the end before it sends is a matter of timing: either way one call later
  // the exchange works.
  auto second = fetch(*io_, post());
  if (!second.ok()) {
    EXPECT_TRUE(second.error().retryable());
    second = fetch(*io_, post());
  }
  EXPECT_EQ(second.value().body, "again");
}

TEST_F(TransportTest, TheReplyLimitHoldsForAnnouncedAndUnannouncedLengths) {
  Reply chunked = Reply::json(std::string(2000, 'x'));
  chunked.chunked = true;
  server_.script(
      "POST", "/",
      {Reply::json(std::string(2000, 'x')), chunked, Reply::json(std::string(1000, 'x'))});
  const auto limited = [&] {
    HttpRequest request = post();
    request.max_response_bytes = 1000;
    return fetch(*io_, std::move(request));
  };
  for (int i = 0; i < 2; ++i) {
    const Error error = limited().error();
    EXPECT_EQ(error.code(), ErrorCode::kDecode);
    EXPECT_THAT(error.message(), HasSubstr("1000 bytes"));
  }
  EXPECT_EQ(limited().value().body.size(), 1000u);
}

// Spec X3.
TEST_F(TransportTest, X3_AnAnnouncedLengthBeyondTheLimitIsRefusedBeforeTheBodyComes) {
  server_.script("POST", "/", {Reply::broken(Fault::kStall, 2000, 0)});
  HttpRequest request = post();
  request.max_response_bytes = 1000;
  request.timeout = std::chrono::hours(1);
  const auto result = fetch(*io_, std::move(request));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kDecode);
}

// Spec X3.
TEST_F(TransportTest, X3_TenGigabytesAreNotWaitedFor) {
  Reply liar = Reply::json("short").with_header("content-length", "10000000000");
  liar.fault = Fault::kStall;
  liar.fault_after = 5;
  const auto result = answer_to(liar);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kDecode);
}

TEST_F(TransportTest, CancelEndsAnExchangeAndItsConnection) {
  server_.script("POST", "/", {Reply::json("{}").held_by(std::make_shared<Gate>())});
  Transport::RequestId id = 0;
  auto reply = start(*io_, post(), &id);
  ASSERT_TRUE(server_.wait_for_requests(1, kPatience));
  io_->cancel(id);
  EXPECT_EQ(reply.get().error().code(), ErrorCode::kCancelled);
  while (!server_.log()[0].client_left) std::this_thread::yield();
  io_->cancel(id);
  io_->cancel(12'345);
}

// Spec T12.
TEST_F(TransportTest, T12_AWithdrawnRequestWhoseBodyHasNotLeftWasNotAccepted) {
  const DeafPort deaf(/*queue_is_full=*/true);
  Transport::RequestId id = 0;
  auto reply = start(*io_, http::post(deaf.url(), "x"), &id);
  io_->withdraw(id);
  const Error error = reply.get().error();
  EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  EXPECT_TRUE(error.not_accepted());
}

// Spec T12.
TEST_F(TransportTest, T12_AWithdrawnRequestWhoseBodyHasLeftGoesOn) {
  const auto gate = std::make_shared<Gate>();
  server_.script("POST", "/", {Reply::json("{}").held_by(gate)});
  Transport::RequestId id = 0;
  auto reply = start(*io_, post(), &id);
  ASSERT_TRUE(server_.wait_for_requests(1, kPatience));
  io_->withdraw(id);
  gate->open();
  EXPECT_TRUE(reply.get().ok());
}

TEST_F(TransportTest, CancelRightAfterSendSettlesOnce) {
  server_.handle("", "/", [](const LoggedRequest&) { return Reply::json("{}"); });
  for (int i = 0; i < 200; ++i) {
    Transport::RequestId id = 0;
    auto reply = start(*io_, post(), &id);
    io_->cancel(id);
    const auto result = reply.get();
    EXPECT_TRUE(result.ok() || result.error().code() == ErrorCode::kCancelled);
  }
}

TEST_F(TransportTest, AnExceptionInACallbackStaysThere) {
  server_.handle("", "/", [](const LoggedRequest&) { return Reply::json("{}"); });
  std::promise<void> called;
  io_->send(post(), [&called](Result<HttpResponse>) {
    called.set_value();
    throw 7;
  });
  called.get_future().get();
  EXPECT_TRUE(fetch(*io_, post()).ok());
}

TEST_F(TransportTest, ShutdownFailsWhatIsInFlightAndWhatComesLater) {
  constexpr int kCount = 100;
  server_.handle("", "/", [gate = std::make_shared<Gate>()](const LoggedRequest&) {
    return Reply::json("{}").held_by(gate);
  });
  std::vector<std::future<Result<HttpResponse>>> replies;
  for (int i = 0; i < kCount; ++i) replies.push_back(start(*io_, post()));
  ASSERT_TRUE(server_.wait_for_requests(kCount, kPatience));
  io_->shutdown();
  for (auto& reply : replies) {
    ASSERT_EQ(reply.wait_for(milliseconds(0)), std::future_status::ready);
    EXPECT_EQ(reply.get().error().code(), ErrorCode::kClosed);
  }
  EXPECT_EQ(fetch(*io_, post()).error().code(), ErrorCode::kClosed);
  io_->shutdown();
}

TEST_F(TransportTest, SendsThatRaceWithShutdownSettleExactlyOnce) {
  constexpr int kThreads = 4;
  constexpr int kEach = 100;
  server_.handle("", "/", [](const LoggedRequest&) { return Reply::json("{}"); });
  std::atomic<int> callbacks{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        io_->send(post(), [&](Result<HttpResponse>) { callbacks.fetch_add(1); });
        io_->schedule(SteadyClock().now(), [&] { callbacks.fetch_add(1); });
      }
    });
  }
  while (callbacks.load() < 20) std::this_thread::yield();
  io_->shutdown();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(callbacks.load(), 2 * kThreads * kEach);
}

TEST_F(TransportTest, TheLastReferenceMayBeDroppedInACallback) {
  server_.handle("", "/", [](const LoggedRequest&) { return Reply::json("{}"); });
  std::promise<void> dropped;
  std::optional<std::shared_ptr<IoThread>> own(
      IoThread::start(std::make_shared<SteadyClock>()).value());
  std::promise<void> ready;
  auto go = ready.get_future().share();
  (*own)->send(post(), [&, go](Result<HttpResponse>) {
    go.wait();
    own.reset();
    dropped.set_value();
  });
  ready.set_value();
  dropped.get_future().get();
}

}  // namespace
}  // namespace tinkex::http
